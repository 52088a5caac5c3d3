"""A mixture of two Weibull distributions, fitted to probabilities (RPC, arXiv 2510.15444)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from intact._base.exact import exp, gamma, ln, total
from intact.reason.aggregate.lbfgsb import minimise

SMALLEST = 0.01
WEIGHTS = (0.2, 0.8)
CEILING = 300.0  # of exponents, so that no product overflows
START = (0.5, 1.0, 1.0, 1.5, 2.0)


class Weibull(NamedTuple):
    """The density `(k / scale) (x / scale)^(k - 1) exp(-(x / scale)^k)` for x > 0."""

    k: float
    scale: float

    @property
    def mean(self) -> float:
        """The mean, `scale Gamma(1 + 1 / k)`."""
        return self.scale * gamma(1 + 1 / self.k)

    def log_density(self, x: float) -> float:
        """Return the natural log of the density at x > 0."""
        ratio = ln(x / self.scale)
        return ln(self.k / self.scale) + (self.k - 1) * ratio - exp(min(self.k * ratio, CEILING))


class Mixture(NamedTuple):
    """The mixture `w high + (1 - w) low`, where `high` is the component with the larger mean."""

    w: float
    high: Weibull
    low: Weibull

    def prefers_low(self, x: float) -> bool:
        """Return true if x is more likely to come from the low component: `w high(x) < (1 - w) low(x)`."""
        return ln(self.w) + self.high.log_density(x) < ln(1 - self.w) + self.low.log_density(x)


def ordered(w: float, first: Weibull, second: Weibull) -> Mixture:
    """Return the mixture with the component of larger mean first; ties keep the given order."""
    return Mixture(w, first, second) if first.mean >= second.mean else Mixture(1 - w, second, first)


def fit(values: Sequence[float]) -> Mixture | None:
    """Fit a mixture by maximum likelihood; return None if the fit does not converge.

    Uses bounded L-BFGS-B, starting from w = .5, (k, scale) = (1, 1) and (1.5, 2), with w in [.2, .8] and the other
    parameters at least .01, as in the authors' code. The same values in any order give the same bits on every machine.

    Parameters
    ----------
    values : sequence of float > 0
    """
    if len(set(values)) < 2:
        return None
    counted = sorted((ln(x), count) for x, count in Counter(values).items())
    low, high = [WEIGHTS[0]] + [SMALLEST] * 4, [WEIGHTS[1]] + [math.inf] * 4
    found = minimise(partial(_negative_log_likelihood, counted), START, low, high)
    if not found.converged:
        return None
    w, k1, scale1, k2, scale2 = found.x
    return ordered(w, Weibull(k1, scale1), Weibull(k2, scale2))


def _negative_log_likelihood(
    counted: Sequence[tuple[float, int]], parameters: Sequence[float]
) -> tuple[float, list[float]]:
    """Return the negative log-likelihood and its gradient, from pairs of log-value and count."""
    w, *shapes = parameters
    parts = [
        (share, k, ln(scale), ln(share * k / scale)) for share, k, scale in ((w, *shapes[:2]), (1 - w, *shapes[2:]))
    ]
    value, slopes = list[float](), [list[float]() for _ in range(5)]
    for log_x, count in counted:
        ratios = [log_x - log_scale for _, _, log_scale, _ in parts]
        raised = [exp(min(k * ratio, CEILING)) for (_, k, *_), ratio in zip(parts, ratios, strict=True)]
        logs = [
            log + (k - 1) * ratio - power for (_, k, _, log), ratio, power in zip(parts, ratios, raised, strict=True)
        ]
        less = exp(-abs(logs[0] - logs[1]))
        value.append(-count * (max(logs) + ln(1 + less)))
        odds = (1.0, less) if logs[0] >= logs[1] else (less, 1.0)
        chances = [count * odd / (1 + less) for odd in odds]
        slopes[0].append(chances[1] / (1 - w) - chances[0] / w)
        for i, (chance, ratio, power) in enumerate(zip(chances, ratios, raised, strict=True)):
            k, scale = shapes[2 * i : 2 * i + 2]
            slopes[2 * i + 1].append(-chance * (1 / k + ratio - power * ratio))
            slopes[2 * i + 2].append(-chance * (k / scale * (power - 1)))
    return total(value), [total(terms) for terms in slopes]
