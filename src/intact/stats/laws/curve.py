"""The coverage curve `exp(a k^b)`, a law for the benchmark as a whole."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from intact._base.errors import ParameterError
from intact.stats.checks import Floats
from intact.stats.coverage import pass_at_k
from intact.stats.laws.least_squares import fitted
from intact.stats.laws.sample import Counts, sample

POINTS = 40


class Curve(NamedTuple):
    """A fitted curve.

    Attributes
    ----------
    a, b
        Parameters of `exp(a k^b)`, both below 0.
    k, coverage
        The points of the fit.
    error
        Root mean square of the residuals, in coverage.
    """

    a: float
    b: float
    k: Floats
    coverage: Floats
    error: float

    @property
    def exponent(self) -> float:
        """The exponent of the decay of -log coverage, `k^-exponent`."""
        return -self.b

    def pass_at_k(self, k: ArrayLike) -> Floats:
        """Return the coverage of k samples."""
        return np.asarray(np.exp(self.a * np.asarray(k, np.float64) ** self.b))


def fit_curve(n: ArrayLike, c: ArrayLike) -> Curve:
    """Fit the exponentiated power law (Brown et al. 2024, arXiv 2407.21787).

    The fit is by least squares of coverage at 40 values of k, spaced evenly on a logarithmic scale up to the smallest
    n. Points of one curve are correlated, so regression standard errors are far too small: bootstrap problems instead
    (`intact.stats.laws.extrapolation`).

    Parameters
    ----------
    n, c : array of int
        Numbers of samples and of correct samples for each problem.

    Raises
    ------
    ParameterError
        If all samples are wrong, or all correct; if n is below 3; if coverage does not grow with k; or if no fit is
        found.
    """
    return fit_sample(sample(n, c))


def fit_sample(counted: Counts, table: tuple[Floats, Floats] | None = None) -> Curve:
    """Fit the curve to counts; pass the result of `points` if it is known."""
    k, passed = points(counted) if table is None else table
    coverage = passed @ counted.weight / counted.weight.sum()
    if coverage[-1] == coverage[0]:
        raise ParameterError(
            f"coverage is {coverage[0]:g} for every k: the samples of each problem are all right or all wrong"
        )
    missing = -np.log(coverage)
    seen = missing > 0
    slope, start = np.polyfit(np.log(k[seen]), np.log(missing[seen]), 1) if seen.sum() > 1 else (-1.0, 0.0)

    def law(k: Floats, log_a: float, b: float) -> Floats:
        return np.asarray(np.exp(-np.exp(log_a) * k**b))

    log_a, b = fitted(law, k, coverage, (start, min(slope, -1e-3)), bounds=((-50, -20), (50, 0)))
    curve = Curve(-math.exp(log_a), b, k, coverage, error=0.0)
    return curve._replace(error=float(np.sqrt(np.mean((curve.pass_at_k(k) - coverage) ** 2))))


def points(counted: Counts) -> tuple[Floats, Floats]:
    """Return values of k and, for each, pass@k of each distinct pair of counts."""
    most = int(counted.n.min())
    if most < 3:
        raise ParameterError(
            f"a curve with two parameters needs at least 3 samples of each problem, but one has {most}"
        )
    k = np.unique(np.geomspace(1, most, POINTS).round().astype(np.int64))
    return k.astype(np.float64), np.asarray(pass_at_k(counted.n, counted.c, k[:, None]))
