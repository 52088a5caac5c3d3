"""Multiplication of wide rows by a number, as Gemma 4 does after each layer (docs/spec/numerics.md, section 7)."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final

import numpy as np

from intact.numerics.fixed import Int, rshift, sat32

FRACTION: Final = 24
"""Fraction bits of the multiplier."""
LIMIT: Final = 1 << 46
"""Rows are clipped to this magnitude, as in norms."""
MOST: Final = 64
"""Exclusive bound on the multiplier's magnitude."""


def row_multiplier(number: Fraction) -> int:
    """Return the number in Q24, rounded half up.

    Raises
    ------
    ValueError
        If the number is not between -64 and 64.
    """
    if not -MOST < number < MOST:
        raise ValueError(f"rows are multiplied by numbers between -{MOST} and {MOST}, not {float(number):g}")
    return math.floor(number * (1 << FRACTION) + Fraction(1, 2))


def multiply(x: Int, multiplier: int, wide: bool) -> Int:
    """Return x times a multiplier, from Q20 to Q20 if `wide`, otherwise to Q16 with a magnitude of at most 2^31 - 1."""
    x = np.clip(np.asarray(x, np.int64), -LIMIT, LIMIT)
    low = (x & ((1 << FRACTION) - 1)) * multiplier  # x times the multiplier is high * 2^24 + low
    high = (x >> FRACTION) * multiplier
    if wide:
        return high + rshift(low, FRACTION)
    return sat32((high + ((low + (1 << (FRACTION + 3))) >> FRACTION)) >> 4)
