"""Slopes and effect sizes with clusters: against statsmodels, by hand, and how often intervals hold the truth."""

import json
from itertools import product

import numpy as np
import pytest

from intact._base.errors import ParameterError
from intact.stats.association import cliffs_delta, ratio_of_sums, share_of_samples, slope
from intact.stats.intervals import clustered, wilson

HAND = [1, 2, 3, 2, 4], [1, 1, 0, 1, 0], list("AAABB")


def test_slopes_by_hand():
    assert slope(*HAND).estimate == pytest.approx(-11 / 26)
    assert slope(*HAND, within=True).estimate == pytest.approx(-0.5)


def drawn(seed, problems=30, samples=6, effect=0.0, confounded=0.15):
    """Lengths that are longer where problems are harder, and whether texts are right, with a known effect within."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(size=problems)
    x = hard[:, None] + rng.normal(size=(problems, samples))
    chance = 0.5 - confounded * hard[:, None].clip(-2, 2) + effect * (x - hard[:, None]).clip(-3, 3)
    return x.ravel(), (rng.random(x.shape) < chance).ravel().astype(float), np.repeat(np.arange(problems), samples)


def test_errors_are_those_of_statsmodels():
    statsmodels = pytest.importorskip("statsmodels.api")
    x, y, groups = drawn(1)
    cov = {"cov_type": "cluster", "cov_kwds": {"groups": groups}, "use_t": True}
    pooled = statsmodels.OLS(y, statsmodels.add_constant(x)).fit(**cov)
    found = slope(x, y, groups.tolist())
    assert found.estimate == pytest.approx(pooled.params[1])
    assert found.error == pytest.approx(pooled.bse[1])
    assert (found.low, found.high) == pytest.approx(pooled.conf_int()[1])
    means = [np.array([one[groups == group].mean() for group in groups]) for one in (x, y)]
    within = statsmodels.OLS(y - means[1], statsmodels.add_constant(x - means[0])).fit(**cov)
    found = slope(x, y, groups.tolist(), within=True)
    assert found.estimate == pytest.approx(within.params[1])
    assert found.error == pytest.approx(within.bse[1])


@pytest.mark.parametrize("effect", [0.0, 0.1])
def test_intervals_within_problems_hold_the_truth_and_pooled_ones_do_not(effect):
    within = pooled = delta = 0
    for seed in range(400):
        x, y, groups = drawn(seed, effect=effect)
        own = slope(x, y, groups.tolist(), within=True)
        within += own.low <= effect <= own.high
        all_of = slope(x, y, groups.tolist())
        pooled += all_of.low <= effect <= all_of.high
        of = cliffs_delta(x, y, groups.tolist())
        delta += of.low <= 0 <= of.high
    assert within / 400 == pytest.approx(0.95, abs=0.03)
    assert pooled / 400 < 0.6
    if effect:
        assert delta / 400 < 0.6
    else:
        assert delta / 400 == pytest.approx(0.95, abs=0.03)


def test_cliffs_delta_counts_pairs_of_one_problem():
    rng = np.random.default_rng(5)
    values, right = rng.integers(0, 5, 40), rng.integers(0, 2, 40)
    groups = np.repeat(np.arange(5), 8)
    signs = [
        np.sign(int(values[i]) - int(values[j]))
        for i, j in product(range(40), repeat=2)
        if groups[i] == groups[j] and right[i] and not right[j]
    ]
    assert cliffs_delta(values, right, groups.tolist()).estimate == pytest.approx(np.mean(signs))
    assert cliffs_delta([3, 5, 4, 8] * 2, [1, 1, 0, 0] * 2, list("AAAABBBB")).estimate == -0.5  # AUROC 3/4 of shorter


def test_a_ratio_of_equal_denominators_is_the_clustered_mean():
    counts = [3, 0, 2, 4, 4, 1]
    table = [[1] * c + [0] * (4 - c) for c in counts]
    found, known = ratio_of_sums(counts, [4] * 6), clustered(table)
    assert found == pytest.approx((known.estimate, known.low, known.high))
    assert ratio_of_sums([*counts, 0], [*[4] * 6, 0]) == found


def test_slopes_of_a_published_log(data_dir):
    """Points per 100 words on 100 MATH problems, 8 texts of Qwen2.5-Math each."""
    path = data_dir / "logs" / "math_qwen25_rm" / "math_cot_100.jsonl"
    if not path.exists():
        pytest.skip(f"needs {path}")
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    y = [float(right) for row in rows for right in row["score"]]
    x = [len(text.split()) / 100 for row in rows for text in row["code"]]
    groups = [i for i, row in enumerate(rows) for _ in row["code"]]
    pooled, within = slope(x, y, groups), slope(x, y, groups, within=True)
    figures = pooled.estimate, within.estimate, within.error
    assert [round(100 * one, 1) for one in figures] == [-6.1, -2.9, 1.8]
    assert within.mixed == 10
    assert within.low < 0 < within.high
    assert cliffs_delta(x, y, groups).estimate == pytest.approx(-0.352, abs=5e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: slope([1, 2, 3], [0, 1, 0], ["a", "b"]), "2 names of clusters"),
        (lambda: slope([1, 2, 3, 4], [0, 0, 1, 1], list("aabb"), within=True), "in which y varies, got 0"),
        (lambda: slope([1, 1, 1, 1], [0, 1, 1, 0], list("aabb")), "x does not vary"),
        (lambda: ratio_of_sums([1, 0], [2, 0]), "needs at least two of them, got 1"),
        (lambda: ratio_of_sums([1, 0], [2, -1]), "denominator of at least 0"),
        (lambda: cliffs_delta([1, 2], [1, 0], ["a"]), "1 names of clusters"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ParameterError, match=message):
        call()


def test_a_share_of_samples_is_wilsons_for_as_many_samples_as_its_error_is_worth():
    share, low, high = share_of_samples([2, 3, 9], [4, 8, 30])
    same, below, above = ratio_of_sums([2, 3, 9], [4, 8, 30])
    assert share == same == pytest.approx(1 / 3)
    half = (above - below) / 2
    for bound in (low, high):  # Wilson's bounds are where the distance is the error at the bound itself
        assert (share - bound) ** 2 == pytest.approx(half**2 * bound * (1 - bound) / (share * (1 - share)))
    single = np.repeat([1.0, 0.0], [300, 700])
    assert share_of_samples(single, np.ones(1000))[1:] == pytest.approx(wilson(300, 1000), abs=2e-4)


def test_none_or_all_marked_is_wilsons_interval_of_the_problems():
    assert share_of_samples([0, 0, 0], [9, 9, 0]) == (0, *wilson(0, 2))
    assert share_of_samples([9, 9, 0], [9, 9, 0]) == (1, *wilson(2, 2))


@pytest.mark.parametrize("marked", [[3, 0], [-1, 0]])
def test_a_share_of_samples_rejects_more_than_all(marked):
    with pytest.raises(ParameterError, match="between 0 and its number of samples"):
        share_of_samples(marked, [2, 2])


@pytest.mark.parametrize("rate", [0.05, 0.3])
def test_intervals_of_shares_of_samples_hold_the_truth(rate):
    held, rng = 0, np.random.default_rng(5)
    for _ in range(1000):
        sizes = rng.integers(0, 12, 60)
        own = rng.beta(10 * rate, 10 * (1 - rate), 60)
        found = share_of_samples(rng.binomial(sizes, own), sizes)
        held += found.low <= rate <= found.high
    print(held)
    assert 930 <= held <= 970  # within 2 points of 95%
