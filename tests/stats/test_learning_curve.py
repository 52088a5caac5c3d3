"""Forecasts by LC-PFN's prior: against quadrature, against plain draws from the prior, and on curves of the prior."""

import numpy as np
import pytest

from intact._base.errors import ParameterError
from intact.stats.laws.learning_curve import forecast_curve

NUMBERS = np.array([1, 2, 4, 8])


def moments(values, weights):
    weights = weights / weights.sum()
    order = np.argsort(values)
    sums = np.cumsum(weights[order])
    return values[order][np.searchsorted(sums, (0.5, 0.025, 0.975))]


def test_one_family_is_that_of_quadrature():
    """y = w (c - a / ln(x + 1)), on a grid of w, c, a and ln sigma; the curve at 32 is also the horizon."""
    values = np.array([0.30, 0.42, 0.44, 0.52])
    cells = (np.arange(80) + 0.5) / 80
    w, c, a = (one.ravel() for one in np.meshgrid(cells, cells, cells - 0.5, indexing="ij"))
    at = lambda x: w * (c - a / np.log(x + 1))  # noqa: E731
    fine = (at(1) >= 0) & (at(1) <= 1) & (at(32) >= 0) & (at(32) <= 1) & (at(32) > at(1))
    squares = sum((at(x) - y) ** 2 for x, y in zip(NUMBERS, values, strict=True))[fine]
    weights = np.zeros(squares.size)
    for log_sigma in np.arange(-7, 0, 0.1):
        weights += np.exp(-squares / 2 / np.exp(2 * log_sigma) - 4 * log_sigma - (log_sigma + 4) ** 2 / 2)
    expected = moments(at(32)[fine], weights)
    found = forecast_curve(NUMBERS, values, [32], families=["ilog2"], draws=20_000)
    assert found.effective > 1_000
    width = expected[2] - expected[1]
    assert [*found.estimate, *found.low, *found.high] == pytest.approx(expected, abs=0.08 * width)


def plain(numbers, values, at, draws, seed):
    """Weight draws from the prior, all of them at random, by their likelihood."""
    rng = np.random.default_rng(seed)
    horizon = np.arange(1, max(at) + 1)[:, None]
    log_x = np.log(horizon)
    weights = rng.random((3, draws))
    curves = weights[0] * (
        rng.uniform(0, 1.25, draws) - rng.uniform(-0.6, 0.6, draws) * np.exp(-np.exp(rng.normal(0, 2, draws)) * log_x)
    )
    curves += weights[1] * (rng.random(draws) - (rng.random(draws) - 0.5) / np.log(horizon + 1))
    upper, lower = rng.random(draws), 2 * rng.random(draws)
    k, delta = np.exp(rng.normal(-2, 1, draws)), np.exp(rng.normal(0, 0.5, draws))
    curves += weights[2] * (upper - (upper - lower) * np.exp(-k * horizon**delta))
    fine = (curves.min(axis=0) >= 0) & (curves.max(axis=0) <= 1) & (curves[-1] > curves[0])
    curves, sigma = curves[:, fine], np.exp(rng.normal(-4, 1, draws))[fine]
    mean, error = values.mean(axis=0), np.cov(values.T) / len(values)
    eigenvalues, axes = np.linalg.eigh(error)
    variances = eigenvalues[:, None] + sigma**2
    residuals = axes.T @ (curves[np.array(numbers) - 1] - mean[:, None])
    chances = np.exp(-(residuals**2 / variances).sum(axis=0) / 2) / np.sqrt(variances.prod(axis=0))
    effective = chances.sum() ** 2 / (chances @ chances)
    return np.array([moments(curves[x - 1], chances) for x in at]), effective


def test_three_families_and_problems_are_those_of_plain_draws():
    values = np.random.default_rng(1).random((12, 1)) ** [[2.0, 1.5, 1.0, 0.8]]
    expected, effective = plain(NUMBERS, values, [16, 32], 300_000, 2)
    found = forecast_curve(NUMBERS, values, [16, 32], draws=40_000)
    assert min(effective, found.effective) > 500
    width = (expected[:, 2] - expected[:, 1]).min()
    assert np.stack([found.estimate, found.low, found.high], 1) == pytest.approx(expected, abs=0.08 * width)


@pytest.mark.parametrize("curves", [16, pytest.param(80, marks=pytest.mark.slow)])
def test_curves_of_the_prior_lie_in_their_intervals(curves):
    """Of curves of two families with noise 95% hold the truth, and no fewer than chance allows."""
    rng = np.random.default_rng(3)
    held = []
    while len(held) < curves:
        w, c, a, v, b, d = rng.random(6)
        alpha, sigma = np.exp(rng.normal(0, 2)), np.exp(rng.normal(-4, 1))
        x = np.arange(1, 33)
        curve = w * (1.25 * c - 1.2 * (a - 0.5) * x**-alpha) + v * (b - (d - 0.5) / np.log(x + 1))
        observed = curve[NUMBERS - 1] + rng.normal(0, sigma, NUMBERS.size)
        good = curve.min() >= 0 and curve.max() <= 1 and curve[-1] > curve[0]
        if good and observed.min() >= 0 and observed.max() <= 1:
            found = forecast_curve(NUMBERS, observed, [32], families=["pow3", "ilog2"], draws=6_000)
            held.append(found.low[0] <= curve[-1] <= found.high[0])
    assert np.mean(held) >= 0.95 - 3 * (0.95 * 0.05 / curves) ** 0.5


def test_more_problems_narrow_a_forecast_and_equal_seeds_give_equal_ones():
    rng = np.random.default_rng(4)
    values = rng.random((200, 1)) ** [[2.0, 1.5, 1.0, 0.8]]
    few, many = (forecast_curve(NUMBERS, values[:count], 16, draws=8_000) for count in (10, 200))
    assert many.high - many.low < few.high - few.low
    again = forecast_curve(NUMBERS, values, 16, draws=8_000)
    assert [one.tolist() for one in again[:4]] == [one.tolist() for one in many[:4]]
    assert again.effective == many.effective


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 2], [0.1, 0.2], 4), "a list of at least 3"),
        (([1, 4, 2], [0.1, 0.2, 0.3], 4), "ascending numbers"),
        (([1, 2, 4], [[0.1, 0.2]] * 3, 4), "ascending numbers, got the shape"),
        (([0, 2, 4], [0.1, 0.2, 0.3], 4), "at least 1, got 0"),
        (([1, 2, 4], [0.1, 0.2, 1.3], 4), r"lie in \[0, 1\], got 0.1 to 1.3"),
        (([1, 2, 4], [0.1, 0.2, 0.3], 4, ["cubic"]), "among pow3, ilog2, janoschek"),
        (([1, 2, 4], [0.1, 0.2, 0.3], 4, ["pow3"], 10), "draws must be at least 1,000, got 10"),
    ],
)
def test_what_cannot_be_forecast_is_named(arguments, message):
    n, values, at, *rest = arguments
    more = dict(zip(("families", "draws"), rest, strict=False))
    with pytest.raises(ParameterError, match=message):
        forecast_curve(n, values, at, **more)
