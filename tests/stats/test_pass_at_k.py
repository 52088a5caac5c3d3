"""Pass@k and its kin: against all subsets, a published log, and limits that they have."""

import itertools
import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import intact
from intact._base.errors import ParameterError
from intact.reason.aggregate.best import best_of_n
from intact.reason.aggregate.votes import vote
from intact.stats import best_at_k, g_pass_at_k, majority_at_k, mean_g_pass_at_k, pass_at_k, pass_hat_k

n_c_k = st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n)))


@given(n_c_k, st.integers(1, 10).map(lambda tenths: tenths / 10))
def test_estimates_are_means_over_all_subsets(counts, tau):
    n, c, k = counts
    right = [sum(subset) for subset in itertools.combinations([1] * c + [0] * (n - c), k)]

    def mean(hit):
        return float(Fraction(sum(map(hit, right)), len(right)))

    assert pass_at_k(n, c, k) == mean(lambda found: found > 0)
    assert pass_hat_k(n, c, k) == mean(lambda found: found == k)
    assert g_pass_at_k(n, c, k, tau) == mean(lambda found: Fraction(found, k) >= Fraction(str(tau)))
    if k > 1:
        shares = [i for i in range(1, k + 1) if 2 * i > k + k % 2]
        expected = sum(mean(lambda found, i=i: found >= i) for i in shares) * 2 / k
        assert mean_g_pass_at_k(n, c, k) == pytest.approx(expected)


@pytest.mark.parametrize(("n", "c"), [(10, 3), (200, 1), (1000, 999), (10_000, 17)])
def test_the_usual_product_gives_the_same(n, c):
    for k in (1, 2, n // 3, n // 2, n):
        product = 1 - np.prod(1 - k / np.arange(n - c + 1, n + 1))
        assert pass_at_k(n, c, k) == pytest.approx(product if n - c >= k else 1.0, rel=1e-10)


def test_pass_at_1_is_the_share_to_the_last_bit():
    n, c = np.array([3, 7, 49, 1000]), np.array([1, 3, 11, 777])
    assert (pass_at_k(n, c, 1) == c / n).all()
    assert (intact.stats.pass_at_k(n, c, n) == 1).all()


def test_ends_and_shapes():
    assert isinstance(pass_at_k(10, 3, 5), float)
    assert pass_at_k(1, [True, False], 1).tolist() == [1, 0]
    curve = pass_at_k([8, 8, 8], [0, 1, 8], [[1], [4], [8]])
    assert curve.tolist() == [[0, 1 / 8, 1], [0, 1 / 2, 1], [0, 1, 1]]
    assert g_pass_at_k(30, 15, 30, 0.5) == 1
    # three of thirty are a tenth, though 0.1 * 30 is 3.0000000000000004 in binary
    assert g_pass_at_k(30, 3, 30, 0.1) == 1


def test_unbiased_for_independent_samples():
    n, k, rate = 9, 4, 0.3
    chances = [math.comb(n, c) * rate**c * (1 - rate) ** (n - c) for c in range(n + 1)]
    assert np.dot(pass_at_k(n, range(n + 1), k), chances) == pytest.approx(1 - (1 - rate) ** k)
    assert np.dot(pass_hat_k(n, range(n + 1), k), chances) == pytest.approx(rate**k)


judged = st.lists(st.sampled_from(["a", "b", "c", "d", None]), min_size=1, max_size=7).flatmap(
    lambda said: st.tuples(st.just(said), st.integers(1, len(said)), st.sets(st.sampled_from("abcd")))
)


@given(judged)
def test_majority_is_the_mean_of_votes_over_all_subsets(drawn):
    said, k, good = drawn
    right = [answer in good for answer in said]
    subsets = list(itertools.combinations(said, k))
    first = Fraction(sum(vote(subset).answer in good for subset in subsets), len(subsets))
    assert majority_at_k([said], [right], k).tolist() == [float(first)]
    shares = [Fraction(len(good & tied), len(tied)) for subset in subsets if (tied := _tied(subset))]
    assert majority_at_k([said], [right], k, ties="shared")[0] == float(sum(shares, Fraction(0)) / len(subsets))


def _tied(subset):
    """The answers that have the most votes."""
    votes = vote(subset).weights
    return {answer for answer, mass in votes.items() if mass == max(votes.values())}


def test_shared_ties_are_the_mean_over_all_orders():
    said = ["a", "b", "b", "a", "c"]
    for k in range(1, 6):
        orders = list(itertools.permutations(said))
        mean = np.mean([majority_at_k([order], [[x == "a" for x in order]], k)[0] for order in orders])
        assert majority_at_k([said], [[x == "a" for x in said]], k, ties="shared")[0] == pytest.approx(mean)


@given(
    st.lists(st.tuples(st.sampled_from([0.1, 0.5, 0.9, None]), st.booleans()), min_size=1, max_size=7),
    st.integers(1, 7),
)
def test_best_is_the_mean_over_all_subsets(samples, k):
    k = min(k, len(samples))
    rewards, right = zip(*samples, strict=True)
    chosen = [
        0 if (best := best_of_n([rewards[i] for i in places])) is None else right[places[best]]
        for places in itertools.combinations(range(len(samples)), k)
    ]
    assert best_at_k([rewards], [right], k).tolist() == [float(Fraction(sum(chosen), len(chosen)))]


def test_majority_of_many_samples_takes_no_time():
    said = ["a"] * 40 + ["b"] * 30 + [f"x{i}" for i in range(28)] + [None] * 2
    curve = [majority_at_k([said], [[x == "a" for x in said]], k, ties="shared")[0] for k in (1, 2, 16, 64, 100)]
    assert curve[0] == 0.4
    assert curve[0] < curve[1] < curve[2] < curve[3] < curve[4] == 1


def counts_of(folder, method):
    (path,) = (folder / "logs" / "game24_gpt4").glob(f"*{method}*.json")
    puzzles = [p.get("accs") or [info["r"] for info in p["infos"]] for p in json.loads(path.read_text())]
    return np.array([len(puzzle) for puzzle in puzzles]), np.array([sum(puzzle) for puzzle in puzzles])


@pytest.mark.parametrize(
    ("method", "samples", "once", "any_of_them"), [("standard_sample", 100, 7.34, 33), ("cot_sample", 100, 4.03, 49)]
)
def test_game_of_24_as_published(data_dir, method, samples, once, any_of_them):
    n, c = counts_of(data_dir, method)
    assert (len(n), set(n)) == (100, {samples})
    assert pass_at_k(n, c, 1).mean() * 100 == pytest.approx(once, abs=1e-12)
    assert pass_at_k(n, c, samples).mean() * 100 == any_of_them
    assert (np.diff([pass_at_k(n, c, k).mean() for k in (1, 2, 5, 10, 50, 100)]) > 0).all()


def test_tree_of_thought_as_published(data_dir):
    n, c = counts_of(data_dir, "propose")
    assert pass_at_k(n, c, n).mean() * 100 == pytest.approx(69, abs=1e-12)  # any of a puzzle's last states


def test_math_with_a_reward_model_as_published(data_dir):
    path = data_dir / "logs" / "math_qwen25_rm" / "math_cot_100.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    right = [row["score"] for row in rows]
    c = [sum(flags) for flags in right]
    answers = [[str(answer) or None for answer in row["pred"]] for row in rows]
    rewards = [[score for (score,) in row["pred_score"]] for row in rows]

    def percent(values):
        return pytest.approx(100 * float(values.mean()), abs=1e-9)

    assert percent(pass_at_k(8, c, 1)) == 91
    assert percent(pass_at_k(8, c, 8)) == 96
    assert percent(majority_at_k(answers, right, 8)) == 93
    assert percent(majority_at_k(answers, right, 8, ties="shared")) == 92.5  # two problems are drawn
    assert percent(best_at_k(rewards, right, 8)) == 94
    for choose in (majority_at_k(answers, right, 1), best_at_k(rewards, right, 1)):
        assert percent(choose) == 91  # one sample leaves no choice


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([5, 5], [1, 2], 6), "k = 6 samples cannot be drawn from n = 5 for problem 0"),
        (([5, 5], [1, 7], 2), "c must be at most n, got n = 5 and c = 7 for problem 1"),
        ((5, 7, 2), "got n = 5 and c = 7$"),
        (([5, math.nan], 1, 2), "n must be whole numbers, got nan for problem 1"),
        ((5, 0.5, 2), "c must be whole numbers, got 0.5"),
        ((5, -1, 2), "c must be at least 0"),
        ((0, 0, 1), "n must be at least 1"),
        ((5, 1, 0), "k must be at least 1"),
        ((5, 1e300, 2), "c must be whole numbers, got 1e"),
        ((5, "one", 1), "c must be whole numbers, got 'one'"),
        (([], [], 1), "at least one problem is needed"),
    ],
)
def test_counts_that_make_no_sense_are_named(arguments, message):
    for of in (pass_at_k, pass_hat_k):
        with pytest.raises(ParameterError, match=message):
            of(*arguments)


def test_choices_that_make_no_sense_are_named():
    for tau in (0, 1.1, math.nan):
        with pytest.raises(ParameterError, match="tau must lie in"):
            g_pass_at_k(5, 1, 2, tau)
    with pytest.raises(ParameterError, match="at least 2"):
        mean_g_pass_at_k(5, 1, 1)
    with pytest.raises(ParameterError, match="problem 1: the answer 'a' is marked both right and wrong"):
        majority_at_k([["a"], ["a", "a"]], [[True], [True, False]], 1)
    with pytest.raises(ParameterError, match="k = 2 samples cannot be drawn from n = 1 for problem 0"):
        majority_at_k([["a"]], [[True]], 2)
    with pytest.raises(ParameterError, match="2 samples have 1 verdicts"):
        best_at_k([[0.5, 0.6]], [[True]], 1)
    with pytest.raises(ParameterError, match="the same number of problems"):
        best_at_k([], [], 1)
    for scores, right in (([[0.5], [0.6]], [[True]]), ([[0.5]], [[True], [False]])):
        with pytest.raises(ParameterError, match="the same number of problems"):
            best_at_k(scores, right, 1)
    with pytest.raises(ParameterError, match="ties must be 'first' or 'shared'"):
        majority_at_k([["a"]], [[True]], 1, ties="last")
