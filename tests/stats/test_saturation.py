"""Intervals of the law of saturation: of curves that follow it, and of such that do not."""

import numpy as np
import pytest

from intact._base.errors import ParameterError
from intact.stats.coverage import pass_at_k
from intact.stats.laws import least_squares
from intact.stats.laws.saturation import Saturation, fit_saturation, saturation_interval

NUMBERS = [1, 2, 4, 8, 16, 32]


def coverage(right, samples=32):
    return np.array([pass_at_k(samples, right, k) for k in NUMBERS]).T


@pytest.mark.parametrize("runs", [5, pytest.param(24, marks=pytest.mark.slow)])
def test_equally_hard_problems_are_described_and_the_intervals_hold_the_truth(runs):
    """Four of five problems can be solved, with chance 0.2."""
    true = Saturation(0.8, 0.2)
    held = np.zeros(3)
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        right = rng.binomial(32, 0.2, 100) * (rng.random(100) < 0.8)
        found = saturation_interval(NUMBERS, coverage(right), resamples=60, seed=seed)
        gain = float(true.accuracy(64) - true.accuracy(32))
        for i, (one, truth) in enumerate(((found.f_max, 0.8), (found.p, 0.2), (found.next_doubling, gain))):
            held[i] += one.low <= truth <= one.high
    assert (held >= 0.8 * runs).all()
    assert found.point.low <= true.point() <= found.point.high
    assert found.model.error < 0.01


def test_problems_that_differ_are_misfitted_and_gain_more_than_foretold():
    right = np.random.default_rng(1).binomial(32, np.random.default_rng(2).beta(0.3, 1, 200))
    found = saturation_interval(NUMBERS, coverage(right), resamples=50)
    assert found.model.error > 0.02
    assert found.last_doubling.low > found.next_doubling.high


def test_the_last_doubling_is_what_was_seen():
    values = coverage(np.arange(1, 9))
    found = saturation_interval(NUMBERS, values, resamples=50)
    assert found.last_doubling.estimate == pytest.approx((values[:, 5] - values[:, 4]).mean())
    assert (found.seen, found.most) == (values[:, 5].mean(), 32)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones((5, 6)), "does not grow"),
        (np.linspace(0, 1, 6)[None], "at least two problems"),
        (np.ones((5, 4)), "6 accuracies each"),
    ],
)
def test_bad_curves_are_named(values, message):
    with pytest.raises(ParameterError, match=message):
        saturation_interval(NUMBERS, values)


def test_a_curve_that_hardly_bends_is_fitted():
    model = fit_saturation([1, 2, 4], [0.0025, 0.005, 0.01])  # one right sample of four, on one problem in a hundred
    assert model.f_max * model.p == pytest.approx(0.0025, rel=0.02)
    assert model.error < 1e-4


def test_where_no_fit_is_found_it_is_said(monkeypatch):
    monkeypatch.setattr(least_squares, "_EVALUATIONS", 2)
    with pytest.raises(ParameterError, match="the fit failed"):
        fit_saturation([1, 2, 4], [0.0025, 0.005, 0.01])
