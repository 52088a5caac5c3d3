"""Estimate gaps in knowledge by predicting a second answer with and without seeing the first.

Source: Experts Don't Cheat, arXiv 2402.08733. For a question x that a model cannot distinguish from others in a group,
two answers are drawn independently from the true distribution p(. | x). A calibrated model of pairs gives the first
answer y the probability `p1(y)`, the mean of p(y | x) over the group, and the second `p2(y | y)`, given that the first
was y. Then `p1(y) p2(y | y)` is the mean of p(y | x)^2, so V(y) = p1(y) (p2(y | y) - p1(y))

is the variance of p(y | x) over the group: it measures what the model does not know, as opposed to randomness. This
holds only for models that are calibrated for pairs.
"""

from __future__ import annotations

import math

from intact._base.errors import ParameterError
from intact._base.exact import Number, written


def pair_variance(alone: Number, informed: Number) -> Number:
    """Return V, the mean squared error of p1 as an estimate of p, for a model that is calibrated for pairs.

    Parameters
    ----------
    alone, informed : number
        p1(y) and p2(y | y), in [0, 1]; fractions give a fraction.

    Raises
    ------
    ParameterError
        If a probability is not in [0, 1], or `informed` is below `alone`, which contradicts calibration.
    """
    _check(alone, informed)
    if informed < alone:
        raise ParameterError(
            f"the probability of an answer must not decrease once the answer is given (calibration): {alone}, "
            f"then {informed}"
        )
    return alone * (informed - alone)


def pair_radius(alone: Number, informed: Number, level: float = 0.95) -> float:
    """Return the distance from p1 within which p is with probability at least `level`, by Chebyshev's inequality.

    Raises
    ------
    ParameterError
        As for `pair_variance`, or if the level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ParameterError(f"the level must lie between 0 and 1, got {level}")
    return math.sqrt(pair_variance(alone, informed) / (1 - written(level, "the level")))


def pair_confidence(alone: Number, informed: Number) -> Number:
    """Return C = p1(y) / p2(y | y), at most 1; by Cauchy-Schwarz, p(y | x) = 0 has probability at most 1 - C.

    If both are small, they may be scaled by the same factor. For an uncalibrated model p1 may exceed p2, which counts
    as 1. An answer with p1 = 0 gives 0.

    Raises
    ------
    ParameterError
        If a probability is not in [0, 1].
    """
    _check(alone, informed)
    if not alone:
        return 0
    return 1 if alone >= informed else alone / informed


def _check(alone: Number, informed: Number) -> None:
    if not (0 <= alone <= 1 and 0 <= informed <= 1):
        raise ParameterError(f"probabilities must lie in [0, 1], got {alone} alone and {informed} given the answer")
