"""A mixture of two Weibull distributions fitted to probabilities (RPC, arXiv 2510.15444)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.util import find_spec
from typing import NamedTuple

from intact.errors import ParameterError, install

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
        """`scale Gamma(1 + 1 / k)`."""
        return self.scale * math.gamma(1 + 1 / self.k)

    def log_density(self, x: float) -> float:
        """Natural log of the density at x > 0."""
        ratio = math.log(x / self.scale)
        return math.log(self.k / self.scale) + (self.k - 1) * ratio - math.exp(min(self.k * ratio, CEILING))


class Mixture(NamedTuple):
    """`w high + (1 - w) low`, where `high` is the component of the larger mean."""

    w: float
    high: Weibull
    low: Weibull

    def prefers_low(self, x: float) -> bool:
        """Whether x rather comes from the low component: `w high(x) < (1 - w) low(x)`."""
        return math.log(self.w) + self.high.log_density(x) < math.log(1 - self.w) + self.low.log_density(x)


def ordered(w: float, first: Weibull, second: Weibull) -> Mixture:
    """The mixture with the component of the larger mean first; of equals, as given."""
    return Mixture(w, first, second) if first.mean >= second.mean else Mixture(1 - w, second, first)


def check_installed() -> None:
    """Raise ParameterError if SciPy is missing; methods ask before they write anything."""
    if find_spec("scipy") is None:
        raise ParameterError(f"fitting a mixture needs SciPy: {install('reason')}")


def fit(values: Sequence[float]) -> Mixture | None:
    """Fit by maximum likelihood, or None where that does not converge.

    Bounded L-BFGS-B from w = .5, (k, scale) = (1, 1) and (1.5, 2), with w in [.2, .8] and the others at least .01, as
    the authors do. Equal values give the same bits with one version of SciPy on one machine; elsewhere the last digits
    may differ, which matters only to values at the very edge between the components.

    Parameters
    ----------
    values : sequence of float > 0

    Raises
    ------
    ParameterError
        If SciPy is not installed (the extra `reason`).
    """
    check_installed()
    import numpy as np
    from scipy.optimize import minimize

    if len(set(values)) < 2:
        return None
    x = np.sort(np.asarray(values, np.float64))
    log_x = np.log(x)

    def negative_log_likelihood(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """The value and its gradient."""
        w, *shapes = parameters
        logs, slopes = [], []
        for share, k, scale in ((w, *shapes[:2]), (1 - w, *shapes[2:])):
            ratio = log_x - math.log(scale)
            raised = np.exp(np.minimum(k * ratio, CEILING))
            logs.append(math.log(share * k / scale) + (k - 1) * ratio - raised)
            slopes += [1 / k + ratio - raised * ratio, k / scale * (raised - 1)]
        log_mixture = np.logaddexp(*logs)
        first, second = (np.exp(part - log_mixture) for part in logs)
        terms = [
            first / w - second / (1 - w),
            first * slopes[0],
            first * slopes[1],
            second * slopes[2],
            second * slopes[3],
        ]
        return -float(log_mixture.sum()), -np.array([term.sum() for term in terms])

    bounds = [WEIGHTS] + [(SMALLEST, None)] * 4
    result = minimize(negative_log_likelihood, START, method="L-BFGS-B", jac=True, bounds=bounds)
    if not (result.success and np.isfinite(result.fun)):
        return None
    w, k1, scale1, k2, scale2 = map(float, result.x)
    return ordered(w, Weibull(k1, scale1), Weibull(k2, scale2))
