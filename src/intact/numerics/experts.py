"""Mixtures of experts in integers: which experts a row passes, and how their results add up (docs/numerics.md, 8)."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from intact.numerics.fixed import rshift
from intact.numerics.functions import LOG2E, exp2_neg, sigmoid

ExpertWeights: TypeAlias = Literal["softmax", "softmax of chosen", "sigmoid"]
"""The weights of the chosen experts: their shares of a softmax over all, of one over themselves, or sigmoids."""

WEIGHT_FRACTION = 18
RESULT_LIMIT = 1 << 42


class ExpertChoices(NamedTuple):
    """The experts of rows, ascending, and the weights of their results in Q18: int64 (M, used) each."""

    experts: NDArray[np.int64]
    weights: NDArray[np.int64]


def weight_factor(factor: Fraction) -> int:
    """Return what all weights are multiplied by, in Q18; it must be below 4."""
    return int(factor * (1 << WEIGHT_FRACTION) + Fraction(1, 2))


def best(scores: NDArray[np.generic], used: int) -> NDArray[np.int64]:
    """Return the columns of the `used` largest scores of each row, among equals those of least number; ascending."""
    order = np.argsort(-scores.astype(np.float64), axis=1, kind="stable")
    return np.sort(order[:, :used], axis=1)


def choose(scores: NDArray[np.integer], used: int, kind: ExpertWeights, factor: int) -> ExpertChoices:
    """Choose the experts of rows by scores (M, experts) in Q16, with `factor` in Q18."""
    experts = best(scores, used)
    chosen = np.take_along_axis(np.asarray(scores, np.int64), experts, axis=1)
    if kind == "sigmoid":
        return ExpertChoices(experts, sigmoid(chosen) * factor >> 30)
    gap = np.minimum(chosen.max(axis=1, keepdims=True) - scores, (1 << 61) // LOG2E)
    shares = exp2_neg(rshift(gap * LOG2E, 30))
    e = np.take_along_axis(shares, experts, axis=1)
    mass = (shares if kind == "softmax" else e).sum(axis=1, keepdims=True)
    return ExpertChoices(experts, e * factor // mass)


def scaled(y: NDArray[np.int64], weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return an expert's results (M, n) in Q20, clipped to 42 bits, times the weights (M,) of its rows."""
    return rshift(np.clip(y, -RESULT_LIMIT, RESULT_LIMIT) * weights[:, None], WEIGHT_FRACTION)
