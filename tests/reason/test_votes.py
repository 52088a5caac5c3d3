"""Votes and selections by exact laws: enumeration of all samples, and hand-written examples."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import ParameterError
from intact.reason.aggregate.best import best_of_n, reduce
from intact.reason.aggregate.best_of_majority import best_of_majority
from intact.reason.aggregate.borda import borda_vote
from intact.reason.aggregate.majority_of_bests import bootstrap_weights, majority_of_bests
from intact.reason.aggregate.votes import elect, vote
from intact.reason.closeness import Closeness
from intact.reason.problem import Piece, Problem, State

ANSWERS = st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=12)
REWARDS = st.sampled_from([0.0, 0.1, 0.5, 0.9])


def test_a_vote_counts_and_breaks_ties_by_what_was_seen_first() -> None:
    tally = vote(["b", "a", None, "a", "b", "c"])
    assert (tally.answer, dict(tally.weights)) == ("b", {"b": 2, "a": 2, "c": 1})
    assert tally.share == Fraction(2, 5)


def test_answers_keep_signs_decimals_and_fractions() -> None:
    assert vote([-3, "1/2", -3, 0.25]).answer == -3
    assert vote([0, 0, 1]).answer == 0
    assert vote(["", "", "x"]).answer == ""


def test_a_vote_without_voters_has_no_answer() -> None:
    for tally in (vote([]), vote([None, None]), vote(["a"], [0])):
        assert (tally.answer, tally.share) == (None, 0.0)


def election(texts: list[str], weights: list[float] | None = None) -> str:
    """Return the closeness of a vote of texts, each of which is its own answer, in words."""
    states = [State("", (str(i),), (Piece(text),), "end") for i, text in enumerate(texts)]
    return str(elect(Problem("p", ""), states, weights).closeness)


@pytest.mark.parametrize(
    ("texts", "weights", "words"),
    [
        (["401", "391", "401", "7"], None, "2 of 4 votes"),
        (["401", "", "401", "7"], None, "2 of 3 votes"),  # a text without an answer does not vote
        (["401"] * 4, None, "4 of 4 votes"),
        (["1", "2", "3", "4"], None, "1 of 4 votes (tie, the first of 4)"),
        (["1", "2", "2", "1", "3"], None, "2 of 5 votes (tie, the first of 2)"),
        (["1", "2", "1"], [0.25, 0.7, 0.25], "58.3% of the weight"),
        (["1", "2"], [0.3, 0.3], "50.0% of the weight (tie, the first of 2)"),
        (["1", "2"], [4.0**50, 1], "100.0% of the weight"),
        (["1", "2", "2"], [900, 60, 60], "900 of 1,020 votes"),
        (["1"], None, "None"),  # there was nobody else
        (["", ""], None, "None"),
    ],
)
def test_a_vote_says_how_close_it_was(texts: list[str], weights: list[float] | None, words: str) -> None:
    assert election(texts, weights) == words


def test_numbers_beside_answers_that_no_vote_makes_are_not_taken_for_votes() -> None:
    assert Closeness.of({"a": -1.5, "b": -2.0}, "a") is None
    assert Closeness.of({"a": 2.0}, "b") is None
    assert Closeness.of({}, "b") is None


@given(ANSWERS)
def test_the_closeness_is_that_of_the_vote(answers: list[str | None]) -> None:
    tally = vote(answers)
    found = Closeness.of({name: float(weight) for name, weight in tally.weights.items()}, tally.answer)
    if found is not None:
        assert Fraction(found.weight) / Fraction(found.total) == tally.share
        assert found.tied == sum(weight == max(tally.weights.values()) for weight in tally.weights.values())


@given(ANSWERS, st.data())
def test_weighted_sums_are_exact(answers: list[str | None], data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.floats(0, 1e6), min_size=len(answers), max_size=len(answers)))
    order = data.draw(st.permutations(range(len(answers))))
    one = vote(answers, weights)
    other = vote([answers[i] for i in order], [weights[i] for i in order])
    assert dict(one.weights) == dict(other.weights)


@pytest.mark.parametrize("bad", [math.nan, -1.0, math.inf])
def test_bad_weights_are_refused(bad: float) -> None:
    with pytest.raises(ParameterError, match="a weight must be"):
        vote(["a"], [bad])
    with pytest.raises(ParameterError, match="2 answers, 1 weights"):
        vote(["a", "b"], [1])


LAW = {"a": Fraction(1, 2), "b": Fraction(1, 3), None: Fraction(1, 6)}


def law(choose: object, n: int, law: dict[object, Fraction]) -> dict[object, Fraction]:
    """The distribution of what is chosen of n independent samples, by enumeration."""
    result: Counter[object] = Counter()
    for sample in itertools.product(law, repeat=n):
        result[choose(list(sample))] += math.prod((law[s] for s in sample), start=Fraction(1))  # type: ignore[operator]
    return dict(result)


def test_the_law_of_the_vote_is_that_of_multinomial_counts() -> None:
    n = 4
    expected: Counter[str | None] = Counter()
    for a in range(n + 1):
        for b in range(n + 1 - a):
            none = n - a - b
            ways = math.factorial(n) // (math.factorial(a) * math.factorial(b) * math.factorial(none))
            mass = ways * LAW["a"] ** a * LAW["b"] ** b * LAW[None] ** none
            if a == b and a:  # who of equals is seen first is a toss-up
                expected["a"] += mass / 2
                expected["b"] += mass / 2
            else:
                expected["a" if a > b else "b" if b else None] += mass
    assert law(lambda sample: vote(sample).answer, n, LAW) == dict(expected)


def test_the_law_of_best_of_n_is_that_of_the_largest_order_statistic() -> None:
    rewards = {"a": 0.2, "b": 0.9, "c": 0.5, "d": 0.1}
    chances = {"a": Fraction(1, 2), "b": Fraction(1, 8), "c": Fraction(1, 4), "d": Fraction(1, 8)}
    for n in (1, 2, 5):
        found = law(lambda sample: sample[best_of_n([rewards[s] for s in sample])], n, chances)  # type: ignore[arg-type]
        for answer, reward in rewards.items():
            below = sum((p for other, p in chances.items() if rewards[other] < reward), Fraction(0))
            assert found[answer] == (below + chances[answer]) ** n - below**n


def test_the_best_of_equals_is_the_first_and_zero_is_a_reward() -> None:
    assert best_of_n([0.5, 0.9, 0.9]) == 1
    assert best_of_n([None, 0.0, None]) == 1
    assert best_of_n([-2.0, -1.0]) == 1
    assert best_of_n([None]) is None
    with pytest.raises(ParameterError, match="sample 1 is not a number"):
        best_of_n([0.5, math.nan])


def test_reductions_read_every_step() -> None:
    steps = [0.5, 0.25, 0.75]
    assert [reduce(steps, how) for how in ("last", "min", "prod", "mean")] == [0.75, 0.25, 0.09375, 0.5]
    with pytest.raises(ParameterError, match="last, min, prod, mean"):
        reduce(steps, "max")
    for bad in ([], [0.5, math.nan]):
        with pytest.raises(ParameterError, match="rewards must be finite and not empty"):
            reduce(bad, "last")


def test_many_mediocre_samples_outweigh_one_good_one() -> None:
    answers = ["a", "b", "b", "b", None]
    assert vote(answers, [0.9, 0.4, 0.4, 0, 1.0]).answer == "a"
    assert vote(answers, [0.9, 0.5, 0.5, 0, 1.0]).answer == "b"


def test_best_of_majority_takes_the_best_of_what_is_frequent() -> None:
    answers, rewards = ["a", "a", "b", "b", "c", None], [0.1, 0.3, 0.2, 0.2, 0.9, 1.0]
    third = Fraction(1, 3)
    assert best_of_majority(answers, rewards, third) == ("a",)
    assert best_of_majority(answers, rewards, third, k=5) == ("a", "b")
    assert best_of_majority(answers, rewards, 0) == ("c",)
    assert best_of_majority(answers, rewards, 0.5) == ("a",), "nothing is kept: the majority"
    assert best_of_majority(answers, [None] * 6, third) == ("a",), "nothing is scored: the majority"
    assert best_of_majority([None], [0.5], 0) == ()
    assert best_of_majority(["a"] * 9 + ["b"], [0.1] * 9 + [0.9], 0.1) == ("b",), "a tenth is at least a tenth"
    with pytest.raises(ParameterError, match="alpha must lie in"):
        best_of_majority(answers, rewards, 1.5)


@given(ANSWERS, st.data())
def test_best_of_majority_without_a_threshold_is_best_of_n(answers: list[str | None], data: st.DataObject) -> None:
    rewards = data.draw(st.lists(REWARDS, min_size=len(answers), max_size=len(answers)))
    best = best_of_n([None if a is None else r for a, r in zip(answers, rewards, strict=True)])
    assert best_of_majority(answers, rewards, 0) == (() if best is None else (answers[best],))


@given(ANSWERS.filter(lambda answers: len(answers) <= 6), st.data())
def test_majority_of_the_bests_is_the_exact_bootstrap(answers: list[str | None], data: st.DataObject) -> None:
    n = len(answers)
    m = data.draw(st.integers(1, 3))
    rewards = data.draw(st.lists(REWARDS, min_size=n, max_size=n))
    wins: Counter[str | None] = Counter()
    for draws in itertools.product(range(n), repeat=m):
        best = [i for i in draws if rewards[i] == max(rewards[j] for j in draws)]
        for i in best:  # one of the best draws, each as likely as another
            wins[answers[i]] += Fraction(1, len(best))  # type: ignore[assignment]
    expected = {a: Fraction(wins[a], n**m) for a in answers if a is not None}
    assert dict(majority_of_bests(answers, rewards, m).weights) == expected


def test_the_order_of_samples_of_equal_reward_decides_nothing_in_majority_of_the_bests() -> None:
    answers, rewards = ["a", "b", "b", "c", "b"], [1.0, 1.0, 1.0, 0.0, 0.0]
    found = {
        tuple(sorted(majority_of_bests([answers[i] for i in order], [rewards[i] for i in order], 3).weights.items()))
        for order in itertools.permutations(range(5))
    }
    assert len(found) == 1
    assert majority_of_bests(answers, rewards, 3).answer == "b", "two of the three best say so"


@given(st.integers(1, 40), st.integers(1, 9))
def test_bootstrap_weights_sum_to_one_and_fall(n: int, m: int) -> None:
    weights = bootstrap_weights(n, m)
    assert sum(weights) == 1
    assert weights == sorted(weights, reverse=True)


def test_a_resample_is_the_root_of_the_scored_samples() -> None:
    answers, rewards = list("abcdefghij"), [0.1 * i for i in range(9)] + [None]
    tally = majority_of_bests(answers, rewards)
    assert tally.weights["i"] == Fraction(9**3 - 8**3, 9**3)
    assert tally.weights["j"] == 0
    with pytest.raises(ParameterError, match="n and m must be at least 1, got 9 samples and 0 draws"):
        majority_of_bests(answers, rewards, m=0)


def test_borda_votes_by_rank() -> None:
    answers, confidences = ["a", "b", "b", None, "c"], [9.0, 2.0, 1.0, 99.0, None]
    assert dict(borda_vote(answers, confidences).weights) == {"a": 3, "b": 3, "c": 0}
    assert borda_vote(answers, confidences).answer == "a"
    assert borda_vote(answers, confidences, p=0).answer == "b"
    assert dict(borda_vote(answers, confidences, p=2).weights) == {"a": 9, "b": 5, "c": 0}
    assert borda_vote(["b", "a", "b"], [1.0, 9.0, 2.0], p=0.5).answer == "b"
