"""Gated short convolutions in integers: cached rows, and sums over positions (docs/spec/numerics.md, section 8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact.numerics.fixed import bitlen, rshift, sat32

TAP_FRACTION: Final = 20
TAP_LIMIT: Final = 256
"""Exclusive bound on the weights; it keeps the sum of `MOST_TAPS` products below 2^62."""
MOST_TAPS: Final = 4
CODE_BITS: Final = 15
CODE_LIMIT: Final = (1 << CODE_BITS) - 1


class ConvolutionRows(NamedTuple):
    """Rows as cached: 16-bit codes int64 (M, n) and exponents (M,); a value is code << exponent."""

    codes: NDArray[np.int64]
    exponent: NDArray[np.int64]


def integer_taps(weight: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return weights (n, taps) in Q20, rounded half up.

    Raises
    ------
    ValueError
        If there are more than four taps, or a weight is too large.
    """
    if weight.ndim != 2 or not 1 <= weight.shape[1] <= MOST_TAPS:
        raise ValueError(f"a convolution has 1 to {MOST_TAPS} weights a channel, found shape {weight.shape}")
    if not np.abs(weight).max() < TAP_LIMIT:
        raise ValueError(f"weights of {TAP_LIMIT} and more do not fit fixed point")
    return np.floor(np.ldexp(weight.astype(np.float64), TAP_FRACTION) + 0.5).astype(np.int64)


def convolution_rows(gate: NDArray[np.integer], x: NDArray[np.integer]) -> ConvolutionRows:
    """Multiply rows (M, n) in Q16 and return the products as codes in the form of the cache.

    A row's exponent is the smallest for which its largest product has at most 15 bits.
    """
    return row_codes(sat32(rshift(np.asarray(gate, np.int64) * x, 16)))


def row_codes(rows: NDArray[np.int64]) -> ConvolutionRows:
    """Round 32-bit rows (M, n) to 15 bits and a sign under the smallest exponent for which the largest value fits."""
    exponent = np.maximum(bitlen(np.abs(rows).max(axis=1)) - CODE_BITS, 0)
    codes = np.clip(rshift(rows, exponent[:, None]), -CODE_LIMIT, CODE_LIMIT)
    return ConvolutionRows(codes, exponent)


def convolve(
    rows: Sequence[tuple[NDArray[np.int64], int]], taps: NDArray[np.int64], gate: NDArray[np.integer]
) -> NDArray[np.int64]:
    """Return one position's result, Q20: the gate times the convolution.

    Parameters
    ----------
    rows : sequence of (codes, exponent)
        The position's own row, then the rows before it, nearest first: all that exist, up to one per tap.
    taps : int64 (n, taps)
        Weights in Q20; the last column belongs to the position itself.
    gate : integer (n,)
        In Q16.
    """
    total = np.zeros(len(taps), np.int64)
    for back, (codes, exponent) in enumerate(rows):
        total += taps[:, -1 - back] * (codes << exponent)
    return rshift(sat32(rshift(total, TAP_FRACTION)) * np.asarray(gate, np.int64), 12)
