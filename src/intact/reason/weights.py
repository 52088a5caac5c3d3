"""Particle weights: from rewards, normalised, with effective sample size and evidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from intact._base.errors import ParameterError
from intact._base.exact import Number, exp, ln, total, weight

CLIP = 1e-7


def logit(reward: float) -> float:
    """Return `ln(r / (1 - r))`, with r clipped to [1e-7, 1 - 1e-7] as in particle filtering (arXiv 2502.01618).

    Raises
    ------
    ParameterError
        If the reward is outside [0, 1] or not a number.
    """
    if not 0 <= reward <= 1:
        raise ParameterError(f"a reward must lie in [0, 1] to have odds, got {reward!r}")
    clipped = min(max(reward, CLIP), 1 - CLIP)
    return ln(clipped / (1 - clipped))


def relative(logs: Sequence[float], temperature: float = 1.0) -> list[float]:
    """Return `exp((s_i - max s) / temperature)`: weights up to a factor, with a maximum of 1.

    An infinite temperature makes all weights equal. A log-weight of minus infinity, for an impossible particle, gives
    weight 0 at every temperature.

    Raises
    ------
    ParameterError
        If no log-weight is finite, a log-weight is plus infinity or not a number, or the temperature is not above 0.
    """
    if not all(value < math.inf for value in logs) or max(logs, default=-math.inf) == -math.inf:
        raise ParameterError(f"log-weights must be below infinity and at least one must be finite, got {list(logs)}")
    if not temperature > 0:
        raise ParameterError(f"a temperature must be positive, got {temperature!r}")
    highest = max(logs)
    return [exp((value - highest) / temperature) if value > -math.inf else 0.0 for value in logs]


def effective_size(weights: Sequence[Number]) -> float:
    """Return `(sum w)^2 / sum w^2`, from 1 to the number of weights, rounded once; 0 if all weights are 0."""
    exact = [weight(w) for w in weights]
    squares = sum((w * w for w in exact), Fraction(0))
    return float(sum(exact, Fraction(0)) ** 2 / squares) if squares else 0.0


def normalised_entropy(weights: Sequence[Number]) -> float:
    """Return `-sum p_i ln p_i / ln N` with `p = w / sum w`: 1 if all are equal, 0 if at most one is positive."""
    exact = [weight(w) for w in weights]
    mass = sum(exact, Fraction(0))
    if len(exact) < 2 or not mass:
        return 0.0
    shares = [float(w / mass) for w in exact if w]
    return -total(p * ln(p) for p in shares) / ln(len(exact))


def log_mean(logs: Sequence[float], count: Number | None = None, temperature: float = 1.0) -> float:
    """Return `ln((1 / N) sum_i exp(s_i / temperature))`, the log-evidence increment of a sequential Monte Carlo step.

    Parameters
    ----------
    count : number, optional
        N; by default the number of log-weights.

    Raises
    ------
    ParameterError
        If no log-weight is finite, or the temperature is not above 0.
    """
    mean = total(relative(logs, temperature)) / float(len(logs) if count is None else count)
    return ln(mean) + max(logs) / temperature
