"""The posterior of a number whose prior is a mixture of normal distributions, in closed form.

Distribution Transformers (arXiv 2502.02463) train a network to map such a prior and a measurement to the posterior; for
normal errors, no network is needed. With a prior `sum_k w_k N(mu_k, s_k^2)` and a measurement y of error e, the
posterior is again a mixture, with

    w'_k ~ w_k N(y; mu_k, s_k^2 + e^2),    1/s'_k^2 = 1/s_k^2 + 1/e^2,    mu'_k = s'_k^2 (mu_k/s_k^2 + y/e^2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from intact._base.errors import ParameterError
from intact._base.exact import exp, ln, total


class NormalPart(NamedTuple):
    """One component of a mixture: its weight, mean and standard deviation."""

    weight: float
    mean: float
    deviation: float


def mixture_posterior(prior: Sequence[NormalPart], measured: float, error: float) -> list[NormalPart]:
    """Return the posterior after a measurement with a normal error; weights sum to 1, and components keep their order.

    For several independent measurements, apply it repeatedly. The computation uses `intact._base.exact`, so results are
    the same on every machine.

    Parameters
    ----------
    prior : sequence of NormalPart
        Weights need not sum to 1.
    measured, error : float
        The measurement and the standard deviation of its error, in the unit of the prior's means.

    Raises
    ------
    ParameterError
        If there are no components, a weight, deviation or error is not above 0, or a number is not finite.
    """
    if not prior:
        raise ParameterError("a mixture needs at least one part")
    for place, part in enumerate(prior):
        if not all(map(math.isfinite, part)) or part.weight <= 0 or part.deviation <= 0:
            raise ParameterError(
                f"weights and deviations must be positive and all numbers finite, got {part} for part {place}"
            )
    if not math.isfinite(measured) or not (math.isfinite(error) and error > 0):
        raise ParameterError(f"a measurement must be finite and its error positive, got {measured} and {error}")
    parts, logarithms = [], []
    for weight, mean, deviation in prior:
        own, noise = deviation * deviation, error * error
        spread, gap = own + noise, measured - mean
        logarithms.append(ln(weight) - ln(spread) / 2 - gap * gap / spread / 2)
        parts.append((mean + gap * (own / spread), math.sqrt(own * (noise / spread))))
    most = max(logarithms)
    weights = [exp(logarithm - most) for logarithm in logarithms]
    whole = total(weights)
    return [NormalPart(weight / whole, *part) for weight, part in zip(weights, parts, strict=True)]


def mixture_moments(mixture: Sequence[NormalPart]) -> tuple[float, float]:
    """Return the mean and standard deviation of a mixture whose weights sum to 1."""
    mean = total(part.weight * part.mean for part in mixture)
    around = [
        part.weight * (part.deviation * part.deviation + (part.mean - mean) * (part.mean - mean)) for part in mixture
    ]
    return mean, math.sqrt(total(around))
