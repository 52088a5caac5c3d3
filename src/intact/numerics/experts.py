"""Mixtures of experts in integers: which experts a row passes, and how their results add up (docs/numerics.md, 8)."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from intact.numerics.fixed import rshift
from intact.numerics.functions import LOG2E, exp2_neg, sigmoid

ExpertWeights: TypeAlias = Literal["softmax", "softmax of chosen", "sigmoid", "sigmoid of chosen"]
"""The weights of the chosen experts: their shares of a softmax over all, of one over themselves, sigmoids, or the
shares of these in their sum."""

WEIGHT_FRACTION = 18
SIGMOID_FRACTION = 30
LEAST_SUM = 1074
"""10^-6 in Q30, which is added to a sum of sigmoids, as LFM2-MoE has it: no share is divided by 0."""
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


class Groups(NamedTuple):
    """The number of groups of consecutive experts, and of those whose experts a row may pass."""

    number: int = 1
    used: int = 1


def best_in_groups(scores: NDArray[Any], used: int, groups: Groups, biased: bool) -> NDArray[np.int64]:
    """Return the same of the best groups alone.

    A group's score is its largest one, or where experts have biases the sum of its two largest (DeepSeek-V2, arXiv
    2405.04434, section 2.2.2, and DeepSeek-V3, arXiv 2412.19437, section 2.1.2).
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
) -> ExpertChoices:
    """Choose the experts of rows by scores (M, experts) in Q16, with `factor` in Q18.

    With a `bias` (experts,) in Q30 those are chosen whose sigmoid and bias have the largest sums; no weight has it.
    """
    wide = np.asarray(scores, np.int64)
    experts = best_in_groups(wide if bias is None else sigmoid(wide) + bias, used, groups, bias is not None)
    chosen = np.take_along_axis(np.asarray(scores, np.int64), experts, axis=1)
    if kind == "sigmoid":
        return ExpertChoices(experts, sigmoid(chosen) * factor >> SIGMOID_FRACTION)
    if kind == "sigmoid of chosen":
        shares = sigmoid(chosen)
        return ExpertChoices(experts, shares * factor // (shares.sum(axis=1, keepdims=True) + LEAST_SUM))
    gap = np.minimum(chosen.max(axis=1, keepdims=True) - scores, (1 << 61) // LOG2E)
    shares = exp2_neg(rshift(gap * LOG2E, 30))
    e = np.take_along_axis(shares, experts, axis=1)
    mass = (shares if kind == "softmax" else e).sum(axis=1, keepdims=True)
    return ExpertChoices(experts, e * factor // mass)


def scaled(y: NDArray[np.int64], weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return an expert's results (M, n) in Q20, clipped to 42 bits, times the weights (M,) of its rows."""
    return rshift(np.clip(y, -RESULT_LIMIT, RESULT_LIMIT) * weights[:, None], WEIGHT_FRACTION)
