"""Assign a candidate spec of a mixture to each matrix of a model."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

import numpy as np

from intact._base.errors import ParameterError
from intact.quantizing.allocate import allocate
from intact.quantizing.quantizers import QUANTIZERS, Spec, SpecMixture
from intact.quantizing.quantizers.spec import fitting

COST_BITS: Final = 40
"""Bits of the largest cost, as an integer."""
Shapes = Sequence[tuple[int, ...]]


UNIT: Final = 16
"""Sizes are counted in 16ths of a bit."""


def size_of(shape: tuple[int, ...], spec: Spec, in_file: bool) -> int:
    """Return the size of a matrix in memory (`Spec.stored_bits`), or of its blocks in a file, in 16ths of a bit."""
    bits = spec.bits_per_weight(shape[1]) if in_file else spec.stored_bits(shape[1])
    return round(UNIT * bits) * shape[0] * QUANTIZERS[spec.quantizer].places(shape[1])


def check_budget(mixture: SpecMixture, shapes: Shapes) -> None:
    """Raise ParameterError if even the smallest candidates exceed the budget."""
    least = sum(min(row) for row in _sizes(mixture, shapes))
    weights = sum(shape[0] * shape[1] for shape in shapes)
    if least > UNIT * Fraction(mixture.bits) * weights:
        raise ParameterError(
            f"{mixture}: the smallest specs need {least / UNIT / weights:.3f} bits per weight in "
            f"{'the file' if mixture.in_file else 'memory'}, more than {mixture.bits}"
        )


def _sizes(mixture: SpecMixture, shapes: Shapes) -> list[list[int]]:
    return [[size_of(shape, spec, mixture.in_file) for spec in fitting(mixture.specs, shape[1])] for shape in shapes]


def assign(mixture: SpecMixture, shapes: Shapes, costs: Sequence[Sequence[float]]) -> tuple[int, ...]:
    """Return the index of each matrix's spec: the lowest total cost within the budget.

    Costs are rounded to integers, scaled so that the largest has 40 bits; `allocate` defines the tie rules.
    """
    budget = int(UNIT * Fraction(mixture.bits) * sum(shape[0] * shape[1] for shape in shapes))
    return allocate(whole_costs(costs), _sizes(mixture, shapes), budget)


def whole_costs(costs: Sequence[Sequence[float]]) -> list[list[int]]:
    """Convert costs to integers, scaled so that the largest has 40 bits."""
    unit = Fraction(2) ** (int(np.frexp(max(map(max, costs)))[1]) - COST_BITS)
    return [[int(Fraction(cost) / unit + Fraction(1, 2)) for cost in row] for row in costs]
