"""Hadamard rotation of rows, block by block, using only additions and subtractions (docs/spec/numerics.md, section 9).

The matrix of size n is Sylvester's: H(1) = 1, H(2 n) = [[H, H], [H, -H]]. Because H H = n I, W x = (W H / n) (H x): a
product that reads rotated rows uses the weights W H / n, and 1 / n is a power of two.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from intact.numerics.fixed import Int
from intact.numerics.fp32 import Floats

SIZES: Final = (32, 64, 128, 256)
"""The supported block sizes."""
LIMIT: Final = 1 << 53
"""Inputs are clipped to this magnitude, so that sums of 256 of them stay below 2^62."""


def block_size(most: int, columns: int) -> int | None:
    """Return the largest size up to `most` that divides a row of this many columns; None if there is none."""
    return max((n for n in SIZES if n <= most and columns % n == 0), default=None)


def hadamard(x: Int, size: int) -> Int:
    """Return H x for each block of a row: exact sums with log2(size) more bits than the inputs.

    Parameters
    ----------
    x : int64 (..., K), K a multiple of `size`; clipped to +-2^53 first
    size : one of `SIZES`
    """
    y = np.clip(x, -LIMIT, LIMIT).reshape(-1, size)
    half = 1
    while half < size:
        pairs = y.reshape(len(y), -1, 2, half)
        y = np.stack([pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], axis=2).reshape(-1, size)
        half *= 2
    return y.reshape(x.shape)


def hadamard_float(x: Floats, size: int) -> Floats:
    """Like `hadamard`, in float32: stages of half = 1, 2, 4, ..., size / 2; each sum and difference is rounded once."""
    y = np.ascontiguousarray(x, np.float32).reshape(-1, size)
    half = 1
    while half < size:
        pairs = y.reshape(len(y), -1, 2, half)
        y = np.stack([pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], axis=2).reshape(-1, size)
        half *= 2
    return y.reshape(x.shape)
