"""Columns of a wide row times a number, as Gemma 4 has behind each layer (docs/numerics.md, section 7)."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final

import numpy as np

from intact.numerics.fixed import Int, rshift, sat32

FRACTION: Final = 24
"""Fraction bits of the number."""
LIMIT: Final = 1 << 46
"""What rows are clipped to on both sides, as norms clip them."""
MOST: Final = 64
"""The number's size is below this."""


def row_multiplier(number: Fraction) -> int:
    """Return the number in Q24, rounded to the nearest, halves up.

    Raises
    ------
    ValueError
        If it is not between -64 and 64.
    """
    if not -MOST < number < MOST:
        raise ValueError(f"rows are multiplied by numbers between -{MOST} and {MOST}, not {float(number):g}")
    return math.floor(number * (1 << FRACTION) + Fraction(1, 2))


def multiply(x: Int, multiplier: int, wide: bool) -> Int:
    """Return x times a number: Q20 to Q20, or where the result is not `wide` to Q16, at most 2^31 - 1 in size."""
    x = np.clip(np.asarray(x, np.int64), -LIMIT, LIMIT)
    low = (x & ((1 << FRACTION) - 1)) * multiplier  # x times the multiplier is high * 2^24 + low
    high = (x >> FRACTION) * multiplier
    if wide:
        return high + rshift(low, FRACTION)
    return sat32((high + ((low + (1 << (FRACTION + 3))) >> FRACTION)) >> 4)
