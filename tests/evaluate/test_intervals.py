"""Intervals: against their definitions, statsmodels and SciPy, and how often they hold the truth."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.api import OLS
from statsmodels.stats.proportion import proportion_confint

from intact.errors import ParameterError
from intact.evaluate import bootstrap, clustered, wilson


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


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_the_bootstrap_is_scipys_and_repeats_itself(method):
    values = np.random.default_rng(2).beta(0.4, 2, 40)
    found = bootstrap(values, method=method, resamples=500, seed=3)
    assert found == bootstrap(values, method=method, resamples=500, seed=3)
    assert found != bootstrap(values, method=method, resamples=500, seed=4)
    expected = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=500,
        method={"bca": "BCa"}.get(method, method),
        rng=np.random.default_rng(3),
    ).confidence_interval
    assert found == (values.mean(), *expected)
    assert bootstrap(values, np.median, resamples=500).estimate == np.median(values)


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


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wilson(3, 2), "3 successes in 2 trials"),
        (lambda: wilson(1, 2, 95), "at level 95"),
        (lambda: bootstrap([1, 1, 1]), "all 3 problems have the value 1: .*`wilson`"),
        (lambda: bootstrap([1]), "2 or more"),
        (lambda: bootstrap([1, math.nan]), "must be finite, got nan for problem 1"),
        (lambda: bootstrap([1, 0], level=1), "the level must lie between 0 and 1, got 1"),
        (lambda: bootstrap([1, 0], method="BCa"), "a method is bca or percentile"),
        (lambda: bootstrap([1, 0], resamples=0), "at least 1 resample"),
        (lambda: clustered([[1, 0], [1]]), "rows of one length"),
        (lambda: clustered([[1, 0]]), "one cluster only"),
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
    import intact.evaluate.checks as checks
    from intact.evaluate import holm

    monkeypatch.setattr(checks, "find_spec", lambda name: None if name == library else object())
    with pytest.raises(ParameterError, match=rf"needs {library}: pip install '\.\[evaluate\]'"):
        bootstrap([1, 0]) if library == "scipy" else holm([0.5])
