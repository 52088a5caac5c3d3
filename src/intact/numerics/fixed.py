"""Fixed-point notation of docs/numerics.md on NumPy int64 arrays: bit lengths, rounded shifts, saturation."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Int = NDArray[np.int64]

LIMIT = (1 << 31) - 1


def bitlen(x: ArrayLike) -> Int:
    """Count the bits of each x >= 0, with ``bitlen(0) = 0``.

    Parameters
    ----------
    x : array_like of int64, any shape, 0 <= x < 2^63
    """
    rest = np.asarray(x, np.int64)
    bits = np.zeros(rest.shape, np.int64)
    for step in (32, 16, 8, 4, 2, 1):
        large = rest >= (np.int64(1) << np.int64(step))
        bits += np.where(large, step, 0)
        rest = np.where(large, rest >> step, rest)
    return bits + (rest > 0)


def rshift(x: ArrayLike, s: ArrayLike) -> Int:
    """Round half up after division by 2^s: ``(x + 2^(s-1)) >> s``, x itself for s = 0, and 0 for s >= 63.

    Parameters
    ----------
    x : array_like of int64, |x| < 2^62
    s : array_like of int64, s >= 0, broadcast against x
    """
    x, s = np.broadcast_arrays(np.asarray(x, np.int64), np.asarray(s, np.int64))
    within = np.clip(s, 1, 62)
    rounded = (x + (np.int64(1) << (within - 1))) >> within
    return np.where(s == 0, x, np.where(s >= 63, np.int64(0), rounded))


def sat32(x: ArrayLike) -> Int:
    """Clip to +-(2^31 - 1); the result stays int64."""
    return np.clip(np.asarray(x, np.int64), -LIMIT, LIMIT)


def shift(x: ArrayLike, s: ArrayLike) -> Int:
    """``rshift(x, s)`` for s >= 0; for s < 0 clip x to +-(2^31 - 1) and shift left by ``min(-s, 31)``."""
    x, s = np.broadcast_arrays(np.asarray(x, np.int64), np.asarray(s, np.int64))
    left = sat32(x) << np.clip(-s, 0, 31)
    return np.where(s >= 0, rshift(x, np.maximum(s, 0)), left)
