"""Temperatures of entropic particle filtering: flatten weights that collapse early (arXiv 2510.05825)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from intact._base.errors import ParameterError
from intact.reason.limits import one_of
from intact.reason.weights import effective_size, normalised_entropy, relative

RULES = ("ess", "entropy", "base")


def entropic_temperature(
    logs: Sequence[float],
    progress: float,
    rule: str = "ess",
    *,
    collapse: float = 0.5,
    early: float = 0.5,
    highest: float = 2.0,
) -> float:
    """Return the divisor of the log-weights before resampling; 1 unless the weights collapse early.

    Let p = softmax(s), ESS = 1 / sum p^2 and f = t / T. If ESS / N < collapse and f < early, the temperature is

    - ess: max(1, (N / ESS) (1 - f)),
    - entropy: max(1, 1 / (H + (1 - H) f)) where H is the entropy divided by ln N,
    - base: max(1, highest - f).

    The first is the paper's; the authors' code also has the others, and clips p before it computes the effective size.
    If one particle has all the weight at f = 0, the entropy rule gives infinity: all weights become equal.

    Parameters
    ----------
    logs : sequence of float, length N
        Log-weights s.
    progress : float in [0, 1]
        Progress f.

    Raises
    ------
    ParameterError
        If the rule is unknown, the progress is outside [0, 1], or no log-weight is finite.
    """
    one_of(RULES, rule=rule)
    if not 0 <= progress <= 1:
        raise ParameterError(f"progress must lie in [0, 1], got {progress!r}")
    weights = relative(logs)
    share = effective_size(weights) / len(weights)
    if share >= collapse or progress >= early:
        return 1.0
    if rule == "ess":
        return max(1.0, (1 - progress) / share)
    if rule == "entropy":
        entropy = normalised_entropy(weights)
        flatness = entropy + (1 - entropy) * progress
        return max(1.0, 1 / flatness) if flatness else math.inf
    return max(1.0, highest - progress)
