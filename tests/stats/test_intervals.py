"""Intervals: against their definitions, statsmodels and SciPy, and how often they hold the truth."""

import itertools
import math
import sys
from decimal import Context, Decimal, localcontext
from statistics import NormalDist

import numpy as np
import pytest
from scipy import stats
from statsmodels.api import OLS
from statsmodels.stats.proportion import proportion_confint

from intact._base.errors import ParameterError
from intact.stats import bootstrap, clustered, wilson
from intact.stats.association import ratio_of_sums
from intact.stats.intervals import AMOUNTS, DIFFERENCES, SHARES


def test_the_score_interval_holds_the_shares_whose_test_does_not_reject() -> None:
    for successes, trials in ((0, 5), (3, 10), (50, 100), (99, 100), (7, 7)):
        low, high = wilson(successes, trials)
        assert 0 <= low <= successes / trials <= high <= 1
        for share in (low, high):
            if 0 < share < 1:
                z = (successes - trials * share) / (trials * share * (1 - share)) ** 0.5
                assert abs(z) == pytest.approx(1.959963984540054)
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
def test_the_score_interval_is_that_of_statsmodels(level):
    for successes, trials in ((0, 5), (3, 10), (50, 100), (7, 7)):
        expected = proportion_confint(successes, trials, 1 - level, "wilson")
        assert wilson(successes, trials, level) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(("trials", "share"), [(50, 0.3), (100, 0.5), (100, 0.8), (400, 0.05), (1000, 0.91)])
def test_the_score_interval_holds_the_truth_as_often_as_it_says(trials, share):
    chances = stats.binom.pmf(np.arange(trials + 1), trials, share)
    holds = [low <= share <= high for low, high in (wilson(c, trials) for c in range(trials + 1))]
    assert 0.93 <= np.dot(chances, holds) <= 0.97


def test_the_clustered_error_is_that_of_a_regression_on_a_constant():
    rng = np.random.default_rng(1)
    clusters = np.repeat(np.arange(12), rng.integers(1, 7, 12))
    values = rng.normal(size=clusters.size) + rng.normal(size=12)[clusters]
    model = OLS(values, np.ones(values.size)).fit(
        cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": True, "df_correction": True}, use_t=True
    )
    found = clustered(values, [f"problem {i}" for i in clusters])
    assert (found.estimate, found.error) == pytest.approx((model.params[0], model.bse[0]))
    assert (found.low, found.high) == pytest.approx(model.conf_int()[0])
    assert found.clusters == 12


def test_clusters_by_hand():
    found = clustered([[1, 1], [0, 1], [0, 0]])
    # sums of deviations from 1/2: 1, 0, -1; 3/2 * 2 / 36
    assert (found.estimate, found.error**2) == (0.5, pytest.approx(1 / 12))
    assert found.design_effect == pytest.approx((1 / 12) / (0.3 / 6))
    # all samples of a problem alike: they are worth one
    assert clustered([[1] * 9, [0] * 9, [1] * 9]).error == pytest.approx(np.std([1, 0, 1], ddof=1) / 3**0.5)


SKEWED = [0.02, 0.05, 0.11, 0.3, 0.94]


def enumerated(method, level):
    """The bootstrap interval of the mean of SKEWED from all 5^5 resamples, each as likely (Efron 1987)."""
    normal = NormalDist()
    means = sorted(math.fsum(drawn) / len(SKEWED) for drawn in itertools.product(SKEWED, repeat=len(SKEWED)))
    chances = [(1 - level) / 2, (1 + level) / 2]
    if method == "bca":
        mean = math.fsum(SKEWED) / len(SKEWED)
        below = sum(one < mean for one in means) + sum(one == mean for one in means) / 2
        bias = normal.inv_cdf(below / len(means))
        left_out = [(math.fsum(SKEWED) - one) / (len(SKEWED) - 1) for one in SKEWED]
        gaps = [math.fsum(left_out) / len(left_out) - one for one in left_out]
        skew = sum(gap**3 for gap in gaps) / (6 * sum(gap**2 for gap in gaps) ** 1.5)
        shifted = [bias + normal.inv_cdf(chance) for chance in chances]
        chances = [normal.cdf(bias + one / (1 - skew * one)) for one in shifted]
    return [means[int(chance * len(means))] for chance in chances]


@pytest.mark.parametrize("method", ["bca", "percentile"])
@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
def test_the_bootstrap_comes_near_the_interval_of_all_resamples(method, level):
    found = bootstrap(SKEWED, method=method, level=level, resamples=20_000, seed=3)
    assert found[1:] == pytest.approx(enumerated(method, level), abs=0.015)
    assert found.estimate == pytest.approx(0.284)
    other = enumerated("percentile" if method == "bca" else "bca", level)
    assert max(map(abs, np.subtract(found[1:], other))) > 0.024, "the two methods are told apart"


def test_the_bootstrap_repeats_itself_and_takes_other_statistics():
    values = np.random.default_rng(2).beta(0.4, 2, 40)
    assert bootstrap(values, resamples=500, seed=3) == bootstrap(values, resamples=500, seed=3)
    assert bootstrap(values, resamples=500, seed=3) != bootstrap(values, resamples=500, seed=4)
    assert bootstrap(values, resamples=500) == bootstrap(values, resamples=500, seed=0)
    assert bootstrap(values, np.median, resamples=500).estimate == np.median(values)
    once = bootstrap(values, method="percentile", resamples=1)
    assert once.low == once.high


def test_clustered_bounds_are_the_nearest_doubles():
    """By decimals of 50 digits, and a quantile that mpmath found."""
    rows = [[1, 0, 0, 1], [0.25, 0.5, 1, 1], [0, 0, 0, 0.1]]
    with localcontext(Context(prec=50)):
        values = [[Decimal(one) for one in row] for row in rows]
        mean = sum(map(sum, values)) / 12
        variance = Decimal(3) / 2 * sum((sum(row) - 4 * mean) ** 2 for row in values) / 144
        half = Decimal(float("4.30265272974946385232094389262")) * variance.sqrt()
        expected = [float(one) for one in (mean, mean - half, mean + half, variance.sqrt())]
    assert list(clustered(rows)[:4]) == expected


def test_wilsons_bounds_are_the_nearest_doubles():
    with localcontext(Context(prec=50)):
        z = Decimal(float("1.95996398454005423552459443052"))
        for successes, trials in ((1, 3), (91, 100), (701, 1319), (52, 164)):
            middle, scale = successes + z * z / 2, trials + z * z
            half = z * (Decimal(successes * (trials - successes)) / trials + z * z / 4).sqrt()
            assert wilson(successes, trials) == (float((middle - half) / scale), float((middle + half) / scale))


def test_bootstrap_and_clusters_agree_on_many_problems():
    rates = np.random.default_rng(5).beta(1, 2, 400)
    right = np.random.default_rng(6).random((400, 8)) < rates[:, None]
    by_clusters = clustered(right)
    drawn = bootstrap(right.mean(axis=1), resamples=4000)
    assert drawn.estimate == pytest.approx(by_clusters.estimate)
    assert drawn.low == pytest.approx(by_clusters.low, abs=0.004)
    assert drawn.high == pytest.approx(by_clusters.high, abs=0.004)
    low, high = wilson(int(right.sum()), right.size)
    assert high - low < 0.7 * (by_clusters.high - by_clusters.low)  # what taking samples for problems would claim


def of_nothing(values, axis):
    """A statistic that resamples have no value of."""
    return np.full_like(values.mean(axis=axis), np.nan)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wilson(3, 2), "3 successes in 2 trials"),
        (lambda: wilson(1, 2, 95), "at level 95"),
        (lambda: bootstrap([1, 1, 1]), "all 3 problems have the value 1: .*`wilson`"),
        (lambda: bootstrap([1]), "at least 2"),
        (lambda: bootstrap([1, math.nan]), "must be finite, got nan for problem 1"),
        (lambda: bootstrap([1, 0], level=1), "the level must lie between 0 and 1, got 1"),
        (lambda: bootstrap([1, 0], method="BCa"), "method must be bca or percentile"),
        (lambda: bootstrap([1, 0], resamples=0), "at least 1 resample"),
        (lambda: bootstrap([1, 0, 0], of_nothing, method="percentile"), "is not finite: use"),
        (lambda: clustered([[1, 0], [1]]), "rows of equal length"),
        (lambda: clustered([[1, 0]]), "only one cluster"),
        (lambda: clustered([1, 0]), "needs the cluster of each"),
        (lambda: clustered([1, 0], ["a"]), "2 values and 1 names"),
        (lambda: clustered([[1, math.inf], [0, 1]]), r"must be finite, got inf for problem 0, place \[1\]"),
    ],
)
def test_degenerate_samples_are_named(call, message):
    with pytest.raises(ParameterError, match=message):
        call()


@pytest.mark.parametrize("library", ["scipy", "statsmodels"])
def test_what_is_not_installed_is_named(library, monkeypatch):
    from intact.stats import tost

    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ParameterError, match=rf"needs {library}: pip install {library}$"):
        bootstrap([1, 0]) if library == "scipy" else tost([1, 0], [0, 1], 0.5)


@pytest.mark.parametrize(
    ("values", "support"),
    [
        ([[0.0, 0.1], [1.0, 0.9]], SHARES),
        ([[0.01, 0.01], [0.9, 1.0], [1.0, 1.0]], SHARES),
        ([[-1.0], [1.0]], DIFFERENCES),
        ([[1.0], [900.0], [3.0]], AMOUNTS),
    ],
)
def test_intervals_are_clipped_to_what_is_possible(values, support):
    plain, found = clustered(values), clustered(values, support=support)
    assert plain.low < support[0] or plain.high > support[1]
    assert (found.low, found.high) == (max(plain.low, support[0]), min(plain.high, support[1]))
    assert found.low <= found.estimate == plain.estimate <= found.high
    sums = [sum(own) for own in values], [len(own) for own in values]
    ratio = ratio_of_sums(*sums, support=support)
    assert support[0] <= ratio.low <= ratio.estimate <= ratio.high <= support[1]
