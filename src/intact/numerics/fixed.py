"""Fixed-point notation of docs/spec/numerics.md on NumPy int64 arrays: bit lengths, rounded shifts, saturation."""

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
    x = np.asarray(x, np.int64)
    high = x >> 32
    exponent = np.frexp(np.where(high > 0, high, x).astype(np.float64))[1]  # of at most 32 bits, so exact
    return np.asarray(exponent + np.where(high > 0, np.int64(32), np.int64(0)))


def rshift(x: ArrayLike, s: ArrayLike) -> Int:
    """Round half up after division by 2^s: ``(x + 2^(s-1)) >> s``, x itself for s = 0, and 0 for s >= 63.

    Parameters
    ----------
    x : array_like of int64, |x| < 2^62
    s : array_like of int64, s >= 0, broadcast against x
    """
    s = np.minimum(np.asarray(s, np.int64), 63)  # by which every x + 2^62 is shifted to 0
    half = np.minimum(s, 1) << np.maximum(s - 1, 0)
    return np.asarray((np.asarray(x, np.int64) + half) >> s)


def sat32(x: ArrayLike) -> Int:
    """Clip to +-(2^31 - 1); the result stays int64."""
    return np.asarray(np.minimum(np.maximum(np.asarray(x, np.int64), -LIMIT), LIMIT))


def shift(x: ArrayLike, s: ArrayLike) -> Int:
    """``rshift(x, s)`` for s >= 0; for s < 0 clip x to +-(2^31 - 1) and shift left by ``min(-s, 31)``."""
    s = np.asarray(s, np.int64)
    left = sat32(x) << np.minimum(np.maximum(-s, 0), 31)
    return np.where(s >= 0, rshift(x, np.maximum(s, 0)), left)
