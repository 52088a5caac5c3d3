"""Hadamard rotation of rows, block by block, by adding and subtracting alone (docs/numerics.md, section 9).

The matrix of size n is Sylvester's: H(1) = 1, H(2 n) = [[H, H], [H, -H]]. H H = n I, so that W x = (W H / n) (H x): the
weights of a product that reads rotated rows are W H / n, and 1 / n is a power of two.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from intact.numerics.fixed import Int
from intact.numerics.fp32 import Floats

SIZES: Final = (32, 64, 128, 256)
"""The sizes of blocks."""
LIMIT: Final = 1 << 53
"""What inputs are clipped to on both sides, so that sums of 256 stay below 2^62."""


def block_size(most: int, columns: int) -> int | None:
    """Return the largest size up to `most` whose blocks fill a row of so many columns; None if none does."""
    return max((n for n in SIZES if n <= most and columns % n == 0), default=None)


def hadamard(x: Int, size: int) -> Int:
    """Return H x for each block of a row: exact sums, with log2(size) bits more than the inputs.

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
    """Do the same in float32: stages of half = 1, 2, 4, ... up to size / 2, each sum and difference rounded once."""
    y = np.ascontiguousarray(x, np.float32).reshape(-1, size)
    half = 1
    while half < size:
        pairs = y.reshape(len(y), -1, 2, half)
        y = np.stack([pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], axis=2).reshape(-1, size)
        half *= 2
    return y.reshape(x.shape)
