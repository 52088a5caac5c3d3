"""Quadrature for counts of problems whose rates follow Kumaraswamy's distribution (1980).

The density `a b p^(a - 1) (1 - p^a)^(b - 1)` has poles at both ends for small shapes. In x = log(p / (1 - p)) it is
smooth and decays exponentially, so Gauss-Legendre panels suffice; the mass beyond the outermost panels is known
exactly.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from intact.stats.checks import Floats, Integers

NODES = 8
BEYOND = 1e-9
"""Value of n times the rate at which panels begin; below it, the probability of any correct sample is even smaller."""


class Grid(NamedTuple):
    """Quadrature nodes for the counts of some problems.

    Attributes
    ----------
    log_p, log_q : array
        Logarithms of the rate and of one minus the rate, at the nodes.
    kernel : array, problems x nodes
        `p^c (1 - p)^(n - c)` times the nodes' weights.
    end : float
        Panels reach from -end to end.
    low, high : array
        Masks of problems without correct samples, and without wrong ones; these have mass beyond the panels.
    """

    log_p: Floats
    log_q: Floats
    kernel: Floats
    end: float
    low: Floats
    high: Floats


def grid(n: Integers, c: Integers) -> Grid:
    """Return nodes dense enough for the narrowest likelihood of these counts, whose width is at least 2 / sqrt(n)."""
    most = int(n.max())
    end = float(np.log(most / BEYOND))
    panels = int(np.ceil(2 * end / min(0.5, 4 / most**0.5)))
    at, weights = np.polynomial.legendre.leggauss(NODES)
    half = end / panels
    x = (np.linspace(-end + half, end - half, panels)[:, None] + half * at).ravel()
    log_p, log_q = -np.logaddexp(0, -x), -np.logaddexp(0, x)
    kernel = np.exp(np.outer(c, log_p) + np.outer(n - c, log_q)) * np.tile(half * weights, panels)
    return Grid(log_p, log_q, kernel, end, low=(c == 0).astype(np.float64), high=(c == n).astype(np.float64))


def chances(of: Grid, a: float, b: float) -> Floats:
    """Return the mean of `p^c (1 - p)^(n - c)` for each problem, and its a and b derivatives, as three columns."""
    raised, by_a = _complement(a, of.log_p)
    density = np.exp(np.log(a) + np.log(b) + a * of.log_p + (b - 1) * raised + of.log_q)  # over x, not p
    slopes = np.stack([np.ones_like(raised), 1 / a + of.log_p + (b - 1) * by_a, 1 / b + raised])
    columns: Floats = np.einsum("pn,sn->ps", of.kernel, slopes * density)  # too small for @, which would start threads
    for end, where, sign in ((of.end, of.low, -1), (-of.end, of.high, 1)):
        raised, by_a = _complement(a, -np.logaddexp(0, end))
        beyond = np.exp(b * raised)  # the probability of a rate above this end
        first = np.expm1(b * raised) if sign < 0 else beyond
        columns += sign * np.outer(where, [first, beyond * b * by_a, beyond * raised])
    return columns


def fails(a: float, b: float, k: Floats) -> Floats:
    """Return the mean of `(1 - p)^k`, the probability that k samples are all wrong."""
    values = [float(chances(_all_wrong(float(times)), a, b)[0, 0]) for times in np.ravel(k)]
    return np.array(values).reshape(np.shape(k))


@lru_cache(maxsize=64)
def _all_wrong(k: float) -> Grid:
    """Return the nodes for k wrong samples of a problem; cached, because resamples request the same nodes again."""
    return grid(np.array([k]), np.zeros(1, np.int64))


def _complement(a: float, log_p: Floats) -> tuple[Floats, Floats]:
    """Return the logarithm of 1 - p^a, and its derivative with respect to a."""
    rest = -np.expm1(a * log_p)
    return np.log(rest), -np.exp(a * log_p) * log_p / rest
