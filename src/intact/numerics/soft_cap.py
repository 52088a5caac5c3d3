"""Soft caps in integer arithmetic: cap * tanh(x / cap) (docs/spec/numerics.md, section 2)."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import numpy as np

from intact.numerics.fixed import rshift, sat32
from intact.numerics.functions import LOG2E, sigmoid


class SoftCap(NamedTuple):
    """A soft cap: 2 / cap in Q24, and the cap in Q16."""

    slope: int
    limit: int


def make_soft_cap(cap: Fraction) -> SoftCap:
    """Convert a cap from 1 to 2^14 to integers."""
    if not 1 <= cap <= 1 << 14:
        raise ValueError(f"a soft cap must lie in 1 to 16,384, got {float(cap):g}")
    half = Fraction(1, 2)
    return SoftCap(int((1 << 25) / cap + half), int(cap * (1 << 16) + half))


def score_cap(cap: Fraction) -> SoftCap:
    """Return the soft cap for scores in base 2."""
    return make_soft_cap(cap * Fraction(LOG2E, 1 << 30))


def soft_cap(x: np.ndarray, cap: SoftCap) -> np.ndarray:
    """Return cap * tanh(x / cap) = 2 cap * sigmoid(2 x / cap) - cap, Q16 to Q16, for |x| < 2^31."""
    twice = sat32(rshift(np.asarray(x, np.int64) * cap.slope, 24))
    return rshift(cap.limit * sigmoid(twice), 29) - cap.limit
