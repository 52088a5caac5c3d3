"""Mixtures: which of the candidates each matrix of a model gets."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

import numpy as np

from intact.errors import ParameterError
from intact.quantizers import Spec, SpecMixture
from intact.quantizing.allocate import allocate

COST_BITS: Final = 40
"""Of the largest cost, as an integer."""
Shapes = Sequence[tuple[int, ...]]


def half_bits(shape: tuple[int, ...], spec: Spec) -> int:
    """Return the size of a matrix in memory, in half bits: of codes and scales, as `Spec.stored_bits` counts them."""
    return round(2 * spec.stored_bits(shape[1])) * shape[0] * shape[1]


def check_budget(mixture: SpecMixture, shapes: Shapes) -> None:
    """Raise ParameterError if the smallest candidates do not fit the budget."""
    least = sum(min(half_bits(shape, spec) for spec in mixture.specs) for shape in shapes)
    weights = sum(shape[0] * shape[1] for shape in shapes)
    if least > 2 * Fraction(mixture.bits) * weights:
        raise ParameterError(
            f"{mixture}: its smallest specs need {least / 2 / weights:.3f} bits a weight in memory, more than "
            f"{mixture.bits}"
        )


def assign(mixture: SpecMixture, shapes: Shapes, costs: Sequence[Sequence[float]]) -> tuple[int, ...]:
    """Return for each matrix the index of its spec: the least sum of costs within the budget.

    Costs are taken in units that give the largest of them 40 bits, rounded; `allocate` states the ties.
    """
    sizes = [[half_bits(shape, spec) for spec in mixture.specs] for shape in shapes]
    budget = int(2 * Fraction(mixture.bits) * sum(shape[0] * shape[1] for shape in shapes))
    return allocate(whole_costs(costs), sizes, budget)


def whole_costs(costs: Sequence[Sequence[float]]) -> list[list[int]]:
    """Return costs as integers, the largest of 40 bits."""
    unit = Fraction(2) ** (int(np.frexp(max(map(max, costs)))[1]) - COST_BITS)
    return [[int(Fraction(cost) / unit + Fraction(1, 2)) for cost in row] for row in costs]
