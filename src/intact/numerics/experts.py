"""Mixtures of experts in integers: the choice of experts, and the sum of their results (docs/spec/numerics.md)."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from intact.numerics.fixed import rshift
from intact.numerics.functions import LOG2E, exp2_neg, sigmoid

ExpertWeights: TypeAlias = Literal["softmax", "softmax of chosen", "sigmoid", "sigmoid of chosen"]
"""Weights of the chosen experts: a softmax over all experts, a softmax over the chosen ones, sigmoids, or sigmoids
divided by their sum.
"""

WEIGHT_FRACTION = 18
SIGMOID_FRACTION = 30
LEAST_SUM = 1074
"""10^-6 in Q30, added to a sum of sigmoids as in LFM2-MoE, to avoid division by 0."""
RESULT_LIMIT = 1 << 42
SCALE_FRACTION = 24
SCALE_LIMIT = 64
"""Fraction bits of the scale that multiplies an expert's weight, and the exclusive bound on its magnitude."""
MOST_WEIGHT = (1 << 20) - 1
"""The largest scaled weight, in Q18."""


class ExpertChoices(NamedTuple):
    """The chosen experts of each row, ascending, and the weights of their results in Q18: int64 (M, used) each."""

    experts: NDArray[np.int64]
    weights: NDArray[np.int64]


def weight_factor(factor: Fraction) -> int:
    """Return the factor of all expert weights in Q18; it must be below 4."""
    return int(factor * (1 << WEIGHT_FRACTION) + Fraction(1, 2))


def best(scores: NDArray[np.generic], used: int) -> NDArray[np.int64]:
    """Return the columns of the `used` largest scores of each row, ascending; ties go to the lowest column."""
    order = np.argsort(-scores.astype(np.float64), axis=1, kind="stable")
    return np.sort(order[:, :used], axis=1)


class Groups(NamedTuple):
    """Number of groups of consecutive experts, and number of groups from which a row may choose."""

    number: int = 1
    used: int = 1


def best_in_groups(scores: NDArray[Any], used: int, groups: Groups, biased: bool) -> NDArray[np.int64]:
    """Like `best`, but choose only among the experts of the best groups.

    A group's score is its largest score or, if experts have biases, the sum of its two largest scores (DeepSeek-V2,
    arXiv 2405.04434, section 2.2.2, and DeepSeek-V3, arXiv 2412.19437, section 2.1.2).
    """
    if groups.used == groups.number:
        return best(scores, used)
    of_groups = scores.reshape(len(scores), groups.number, -1)
    largest = np.sort(of_groups, axis=2)[:, :, -2:]
    chosen = best(largest.sum(axis=2) if biased else largest[:, :, 1], groups.used)
    size = of_groups.shape[2]
    columns = (chosen[:, :, None] * size + np.arange(size)).reshape(len(scores), -1)
    places = best(np.take_along_axis(scores, columns, axis=1), used)
    return np.take_along_axis(columns, places, axis=1)


def choose(
    scores: NDArray[np.integer],
    used: int,
    kind: ExpertWeights,
    factor: int,
    bias: NDArray[np.int64] | None = None,
    groups: Groups = Groups(),  # noqa: B008
    scales: NDArray[np.int64] | None = None,
) -> ExpertChoices:
    """Choose the experts of rows by scores (M, experts) in Q16, with `factor` in Q18.

    With a `bias` (experts,) in Q30, experts are ranked by bias plus sigmoid or, if the weights are a softmax, by bias
    plus their share of a softmax over all experts; the bias does not enter the weights. `scales` (experts,), Q24,
    multiply the weights.
    """
    wide = np.asarray(scores, np.int64)
    sigmoids = kind in ("sigmoid", "sigmoid of chosen")
    ranks = wide
    if bias is not None:
        shares, mass = (sigmoid(wide), 1 << SIGMOID_FRACTION) if sigmoids else softmax(wide)
        ranks = (shares << SIGMOID_FRACTION) // mass + bias
    experts = best_in_groups(ranks, used, groups, bias is not None)
    chosen = np.take_along_axis(wide, experts, axis=1)
    if sigmoids:
        shares, mass = sigmoid(chosen), 1 << SIGMOID_FRACTION
        if kind == "sigmoid of chosen":
            mass = shares.sum(axis=1, keepdims=True) + LEAST_SUM
    elif kind == "softmax":
        all_shares, mass = softmax(wide)
        shares = np.take_along_axis(all_shares, experts, axis=1)
    else:
        shares, mass = softmax(chosen)
    weights = shares * factor // mass
    if scales is not None:
        weights = np.clip(rshift(weights * scales[experts], SCALE_FRACTION), -MOST_WEIGHT, MOST_WEIGHT)
    return ExpertChoices(experts, weights)


def softmax(scores: NDArray[np.int64]) -> tuple[NDArray[np.int64], Any]:
    """Return the exponential of each score (M, n) and their row sums (M, 1); the quotients are the softmax."""
    gap = np.minimum(scores.max(axis=1, keepdims=True) - scores, (1 << 61) // LOG2E)
    e = exp2_neg(rshift(gap * LOG2E, 30))
    return e, e.sum(axis=1, keepdims=True)


def scaled(y: NDArray[np.int64], weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """Multiply an expert's results (M, n) in Q20, clipped to 42 bits, by the weights (M,) of its rows."""
    return rshift(np.clip(y, -RESULT_LIMIT, RESULT_LIMIT) * weights[:, None], WEIGHT_FRACTION)
