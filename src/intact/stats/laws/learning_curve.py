"""Forecast learning curves with the prior of LC-PFN (Adriaensen et al. 2023, arXiv 2310.20447), without a network.

A curve is a weighted sum of three families over x = 1, 2, ... (samples, rounds, tokens),

    y(x) = w1 (c - a x^-alpha) + w2 (c' - a' / ln(x + 1)) + w3 (a" - (a" - b) exp(-k x^delta)),

with weights uniform on [0, 1], not normalised. A curve is kept if it stays in [0, 1] up to the horizon and ends above
its start. Parameters are distributed as in the authors' code: c, a uniform on [0, 1.25] and [-0.6, 0.6], c', a' on [0,
1] and [-0.5, 0.5], a", b on [0, 1] and [0, 2]; ln alpha ~ N(0, 2^2), ln k ~ N(-2, 1), ln delta ~ N(0, 0.5^2).
Observations have normal noise with ln sigma ~ N(-4, 1), where paper and code differ.

The paper trains a transformer to output the posterior; here, it is computed by importance sampling, which is exact in
the limit. Given weights, shapes and sigma, a curve is linear in the other parameters, which are drawn from their normal
posterior (uniform distributions are replaced by normal ones with the same moments, and weighted back). Weights, shapes
and sigma are drawn from the prior first, then from normal distributions fitted to the draws so far, and all draws are
weighted by the mixture (adaptive multiple importance sampling, Cornuet et al. 2012). Because some draws come from the
prior, importance weights are bounded.

If the curves of individual problems are given, the covariance of their mean is added to the noise, so that the forecast
applies to other problems of the same kind. This is our addition: LC-PFN sees a single curve.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from intact._base.errors import ParameterError
from intact.stats.checks import Floats, finite, inside, library, table

ROUNDS = 4
"""Number of sampling rounds: the first draws from the prior, the others from fits."""
_INFLATION = 1.5
"""Factor by which a fitted covariance is widened."""
_TRUST = 20.0
"""Effective number of draws at which a fitted covariance has the same weight as the prior's."""
_NOISE = (-4.0, 1.0)
"""Mean and standard deviation of ln sigma."""


class CurveFamily(NamedTuple):
    """A family of curves, linear in two coefficients.

    Attributes
    ----------
    low, high : tuple of float
        Bounds of the coefficients.
    shapes : tuple of (float, float)
        Mean and standard deviation of each shape's logarithm.
    basis : callable
        Takes ln x and the shapes, draws x 1 each; returns the factors of the coefficients, draws x numbers each.
    """

    low: tuple[float, float]
    high: tuple[float, float]
    shapes: tuple[tuple[float, float], ...]
    basis: Callable[..., tuple[Floats, Floats]]


def _pow3(log_x: Floats, alpha: Floats) -> tuple[Floats, Floats]:
    return np.ones((len(alpha), log_x.size)), -np.exp(-alpha * log_x)


def _ilog2(log_x: Floats) -> tuple[Floats, Floats]:
    return np.ones((1, log_x.size)), -1 / np.log1p(np.exp(log_x))[None]


def _janoschek(log_x: Floats, k: Floats, delta: Floats) -> tuple[Floats, Floats]:
    rest = np.exp(-k * np.exp(np.minimum(delta * log_x, 700)))
    return 1 - rest, rest


FAMILIES = {
    "pow3": CurveFamily((0, -0.6), (1.25, 0.6), ((0, 2),), _pow3),
    "ilog2": CurveFamily((0, -0.5), (1, 0.5), (), _ilog2),
    "janoschek": CurveFamily((0, 0), (1, 2), ((-2, 1), (0, 0.5)), _janoschek),
}


class CurveForecast(NamedTuple):
    """A forecast of a curve where it was not observed.

    Attributes
    ----------
    at : array
        Numbers of samples.
    estimate, low, high : array
        The posterior's median and quantiles of the curve itself, without noise.
    draws : int
    effective : float
        Equivalent number of equally weighted draws, `(sum w)^2 / sum w^2` (Kish): below a few hundred the bounds are
        rough, and more draws are needed.
    """

    at: Floats
    estimate: Floats
    low: Floats
    high: Floats
    draws: int
    effective: float


def forecast_curve(
    n: ArrayLike,
    values: ArrayLike,
    at: ArrayLike,
    *,
    level: float = 0.95,
    families: Sequence[str] = tuple(FAMILIES),
    draws: int = 40_000,
    seed: int = 0,
) -> CurveForecast:
    """Forecast a curve from the prior and its observed part.

    Parameters
    ----------
    n : array
        Numbers of samples at which the curve was observed: ascending, at least 1.
    values : array, numbers or problems x numbers
        The curve, or the curve of each problem, to be averaged.
    at : array
        Numbers of samples to forecast. The horizon is the largest of all these numbers.
    families : sequence of str
        Names from `FAMILIES`.
    draws : int
        At least 1,000.
    seed : int
        Equal seeds give equal forecasts with the same version of NumPy, to about nine digits.

    Raises
    ------
    ParameterError
        If there are fewer than three numbers, values are outside [0, 1], families are unknown, or no draw is consistent
        with the curve.
    """
    numbers, curves, wanted = finite(n, "numbers of samples", 3), table(values, "values"), np.atleast_1d(at)
    wanted = finite(wanted, "numbers to forecast")
    if curves.shape[-1] != numbers.size or curves.ndim > 2 or (np.diff(numbers) <= 0).any():
        raise ParameterError(f"values must be given at {numbers.size} ascending numbers, got the shape {curves.shape}")
    if min(numbers.min(), wanted.min()) < 1:
        raise ParameterError(f"numbers of samples must be at least 1, got {min(numbers.min(), wanted.min()):g}")
    if curves.min() < 0 or curves.max() > 1:
        raise ParameterError(f"values must lie in [0, 1], got {curves.min():g} to {curves.max():g}")
    if not families or not set(families) <= FAMILIES.keys():
        raise ParameterError(f"families must be among {', '.join(FAMILIES)}, got {list(families)}")
    if draws < 1_000:
        raise ParameterError(f"draws must be at least 1,000, got {draws}")
    tail = (1 - inside(level, "the level")) / 2
    sampler = _Sampler([FAMILIES[name] for name in families], numbers, curves, wanted)
    found, weights = sampler.draw(draws, seed)
    estimate, low, high = _quantiles(found, weights, (0.5, tail, 1 - tail))
    return CurveForecast(
        wanted, estimate, low, high, draws=draws, effective=float(weights.sum() ** 2 / (weights @ weights))
    )


class _Sampler:
    """Draws curves, with importance weights, given an observed curve.

    Weights of families, shapes and sigma are functions of standard normal numbers, one column of `z` each.
    """

    def __init__(self, families: Sequence[CurveFamily], numbers: Floats, curves: Floats, wanted: Floats) -> None:
        self.families = families
        self.size = 1 + sum(1 + len(one.shapes) for one in families)
        self.low, self.high = (np.concatenate([getattr(one, side) for one in families]) for side in ("low", "high"))
        self.middle, self.variance = (self.low + self.high) / 2, (self.high - self.low) ** 2 / 12
        self.observed, self.wanted = np.log(numbers), wanted
        rows = np.atleast_2d(curves)
        self.mean = rows.mean(axis=0)
        self.error = np.zeros((numbers.size, numbers.size))
        if len(rows) > 1:
            self.error = np.cov(rows.T) / len(rows)
        horizon = max(numbers.max(), wanted.max())
        between = np.geomspace(1, horizon, 20).round()
        self.numbers = np.unique(np.concatenate([between, numbers, wanted, [1.0, horizon]]))
        self.places = np.searchsorted(self.numbers, wanted)

    def draw(self, draws: int, seed: int) -> tuple[Floats, Floats]:
        """Return curves at the requested numbers, draws x numbers, and their importance weights."""
        fits = [(np.zeros(self.size), np.eye(self.size))]
        latent: list[Floats] = []
        values: list[Floats] = []
        logs: list[Floats] = []
        for turn in range(ROUNDS):
            rng = np.random.default_rng([seed, turn])
            count = draws // ROUNDS + (turn < draws % ROUNDS)
            mean, root = fits[-1]
            latent.append(mean + rng.standard_normal((count, self.size)) @ root.T)
            found, log_weights = self._curves(latent[-1], rng)
            values.append(found)
            logs.append(log_weights)
            z, log_weights = np.concatenate(latent), np.concatenate(logs)
            shares = np.log([len(one) / len(z) for one in latent])
            mixed = np.logaddexp.reduce([share + _log_normal(z, *fit) for share, fit in zip(shares, fits, strict=True)])
            log_weights = log_weights + _log_normal(z, *fits[0]) - mixed
            if not np.isfinite(log_weights).any():
                raise ParameterError(f"none of {len(z)} curves of the prior agrees with the observed curve")
            weights = np.exp(log_weights - log_weights.max())
            fits.append(_fit(z, weights))
        return np.concatenate(values), weights

    def _curves(self, z: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Draw coefficients given the rest; return curves and the logarithms of their weights.

        With coefficients theta ~ N(m, V) and y ~ N(X theta, R), a joint draw is moved to the posterior by
        `theta + V X' S^-1 (y - draw of y)`, `S = X V X' + R` (Matheron's rule). The weight is the evidence N(y; X m, S)
        times the uniform density over N(theta; m, V), and 0 for rejected curves.
        """
        count, points = len(z), self.mean.size
        sigma = np.exp(_NOISE[0] + _NOISE[1] * z[:, -1])
        design = self._design(z, self.observed)
        spread = (design * self.variance) @ design.transpose(0, 2, 1) + self.error
        spread[:, np.arange(points), np.arange(points)] += sigma[:, None] ** 2
        theta = self.middle + np.sqrt(self.variance) * rng.standard_normal((count, self.middle.size))
        eigenvalues, axes = np.linalg.eigh(self.error)
        noise = rng.standard_normal((count, points)) @ (axes * np.sqrt(eigenvalues.clip(0))).T
        noise += sigma[:, None] * rng.standard_normal((count, points))
        residual = self.mean - design @ self.middle
        gap = self.mean - np.einsum("nkp,np->nk", design, theta) - noise
        solved = np.linalg.solve(spread, np.stack([residual, gap], axis=2))
        theta += self.variance * np.einsum("nkp,nk->np", design, solved[:, :, 1])
        log_evidence = -((residual * solved[:, :, 0]).sum(axis=1) + np.linalg.slogdet(spread)[1]) / 2
        log_weights = log_evidence + ((theta - self.middle) ** 2 / self.variance).sum(axis=1) / 2
        kept = np.flatnonzero(((theta >= self.low) & (theta <= self.high)).all(axis=1))
        curves = np.einsum("nkp,np->nk", self._design(z[kept], np.log(self.numbers)), theta[kept])
        fine = (curves.min(axis=1) >= 0) & (curves.max(axis=1) <= 1) & (curves[:, -1] > curves[:, 0])
        found = np.zeros((count, self.wanted.size))
        found[kept] = curves[:, self.places]
        refused = np.ones(count, bool)
        refused[kept[fine]] = False
        return found, np.where(refused, -np.inf, log_weights)

    def _design(self, z: Floats, log_x: Floats) -> Floats:
        """Return the factors of the coefficients, draws x numbers x coefficients."""
        ndtr = library("scipy.special").ndtr
        columns, at = [], 0
        for family in self.families:
            weight = ndtr(z[:, at])[:, None]
            shapes = [
                np.exp(mean + deviation * z[:, at + 1 + i])[:, None]
                for i, (mean, deviation) in enumerate(family.shapes)
            ]
            columns += [weight * one for one in family.basis(log_x, *shapes)]
            at += 1 + len(shapes)
        return np.stack(columns, axis=2)


def _fit(z: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return the mean of weighted draws and a root of their covariance, shrunk to the prior's if few draws count."""
    shares = weights / weights.sum()
    effective = 1 / float(shares @ shares)
    trust = effective / (effective + _TRUST)
    mean = shares @ z
    covariance = (z - mean).T @ ((z - mean) * shares[:, None])
    size = z.shape[1]
    return mean, np.linalg.cholesky(_INFLATION * (trust * covariance + (1 - trust) * np.eye(size)))


def _log_normal(z: Floats, mean: Floats, root: Floats) -> Floats:
    """Return the logarithm of a normal density, omitting the constant of its dimension."""
    scaled = (z - mean) @ np.linalg.inv(root).T
    return np.asarray(-(scaled * scaled).sum(axis=1) / 2 - math.fsum(np.log(np.diag(root))))


def _quantiles(values: Floats, weights: Floats, chances: Sequence[float]) -> Floats:
    """Return weighted quantiles of each column of draws."""
    found = np.empty((len(chances), values.shape[1]))
    for column, own in enumerate(values.T):
        order = np.argsort(own, kind="stable")
        sums = np.cumsum(weights[order])
        found[:, column] = own[order][np.searchsorted(sums, np.multiply(chances, sums[-1])).clip(max=own.size - 1)]
    return found
