"""Sums of gradients as integers with 40 fraction bits, which have no order, and their norm by an integer root."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from math import isqrt
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import CapacityError
from intact.numerics.fp32 import Floats

FRACTION: Final = 40
"""Fraction bits of summed gradients."""
LIMIT: Final = 1 << 12
"""A sequence's gradient must be smaller than this, so that the sum over a step fits int64."""
MOST_SEQUENCES: Final = 1 << 10
"""Largest number of sequences in a step."""
_CLIP_BITS: Final = 24
_DIGIT: Final = 21
_BLOCK: Final = 1 << 20

Integers: TypeAlias = NDArray[np.int64]


def fixed(name: str, gradient: Floats) -> Integers:
    """Round a sequence's gradient half up to 2^-40.

    Raises
    ------
    CapacityError
        If a value is not finite, or 2^12 or more.
    """
    if not (np.abs(gradient) < LIMIT).all():
        raise CapacityError(
            f"the gradient of {name} is not finite, or {LIMIT} and more: the rate is too high, or the data are damaged"
        )
    return np.floor(np.ldexp(gradient.astype(np.float64), FRACTION) + 0.5).astype(np.int64)


class GradientSum:
    """The sum of sequences' gradients by tensor name, int64 in Q40. Sums of parts of a batch can be merged."""

    def __init__(self) -> None:
        self.tensors: dict[str, Integers] = {}

    def add(self, name: str, gradient: Floats) -> None:
        """Add a sequence's gradient."""
        self._add(name, fixed(name, gradient))

    def add_rows(self, name: str, shape: tuple[int, ...], rows: NDArray[np.int32], gradient: Floats) -> None:
        """Add gradients of single rows of a matrix; a row may occur several times."""
        total = self.tensors.setdefault(name, np.zeros(shape, np.int64))
        np.add.at(total, rows, fixed(name, gradient))

    def merge(self, other: GradientSum) -> None:
        """Add another part's sum."""
        for name, values in other.tensors.items():
            self._add(name, values)

    def _add(self, name: str, values: Integers) -> None:
        self.tensors[name] = self.tensors[name] + values if name in self.tensors else values


def integer_sum(values: Integers) -> int:
    """Return the exact sum of integers below 2^42 in size."""
    flat = values.reshape(-1)
    return sum(int(np.add.reduce(flat[at : at + _BLOCK], dtype=np.int64)) for at in range(0, len(flat), _BLOCK))


def weighted_sum(weights: Integers, values: Integers) -> int:
    """Return the exact sum of products of integers of any size."""
    return sum(a * b for a, b in zip(weights.tolist(), values.tolist(), strict=True))


def squared_norm(tensors: Iterable[Integers]) -> int:
    """Return the exact sum of squares, in units of 2^-80."""
    total = 0
    for values in tensors:
        low = values & ((1 << _DIGIT) - 1)
        middle = (values >> _DIGIT) & ((1 << _DIGIT) - 1)
        high = values >> 2 * _DIGIT
        for shift, part in (
            (0, low * low),
            (1, 2 * integer_sum(low * middle)),
            (2, middle * middle),
            (2, 2 * integer_sum(low * high)),
            (3, 2 * integer_sum(middle * high)),
            (4, high * high),
        ):
            total += (part if isinstance(part, int) else integer_sum(part)) << shift * _DIGIT
    return total


def norm(tensors: Mapping[str, Integers]) -> int:
    """Return the Euclidean norm of all tensors together in Q40, rounded down."""
    return isqrt(squared_norm(tensors.values()))


def clip_factor(length: int, most: Fraction | None) -> np.float32:
    """Return the factor that limits a norm (Q40) to `most`: at most 1, rounded down to 24 bits, then to float32."""
    if most is None or length <= most * (1 << FRACTION):
        return np.float32(1.0)
    return np.float32(np.ldexp(float(most * (1 << (FRACTION + _CLIP_BITS)) // length), -_CLIP_BITS))


def as_floats(values: Integers, factor: np.float32) -> Floats:
    """Return a summed gradient as float32, times the factor of clipping."""
    return np.ldexp(values.astype(np.float64), -FRACTION).astype(np.float32) * factor
