"""Eight-bit activations with a scale per block of 32 (docs/numerics.md, section 3)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from intact.numerics.fixed import bitlen, rshift, shift
from intact.numerics.functions import shift_for

BLOCK = 32
LARGEST = 127 * 8191  # of a row after its shift
LARGEST_SUM = 8191


class Quantized(NamedTuple):
    """Rows of activations: x[m, k] = codes[m, k] * scale[m, k // 32] * 2 ** exponent[m].

    Attributes
    ----------
    codes : int8 (M, K), K padded to a multiple of 32 with zeros, |code| <= 127
    scale : int16 (M, K / 32), 1 to 8191
    exponent : int32 (M,)
    """

    codes: np.ndarray
    scale: np.ndarray
    exponent: np.ndarray


def quantize(x: np.ndarray, fraction: int) -> Quantized:
    """Quantise rows x (M, K) of integers with `fraction` fraction bits to blocks of int8."""
    rows, columns = x.shape
    x = np.pad(np.asarray(x, np.int64), ((0, 0), (0, -columns % BLOCK)))
    amax = np.abs(x).max(axis=1)
    e = bitlen(amax) - 20
    e = np.where(amax > np.where(e >= 0, LARGEST << np.maximum(e, 0), LARGEST >> np.maximum(-e, 0)), e + 1, e)
    e = np.where(amax == 0, 0, e)
    u = shift(x, e[:, None]).reshape(rows, -1, BLOCK)
    scale = np.maximum((np.abs(u).max(axis=2) + 126) // 127, 1)
    reciprocal = ((1 << 24) + (scale >> 1)) // scale
    codes = rshift(u * reciprocal[:, :, None], 24)
    return Quantized(codes.reshape(rows, -1).astype(np.int8), scale.astype(np.int16), (e - fraction).astype(np.int32))


def to_bytes(a: Quantized) -> np.ndarray:
    """Rows of activations as bytes (M, K + K / 16 + 4): codes, then scales and the exponent as little-endian integers.

    So a receipt's chain takes what enters the head (docs/receipts.md).
    """
    scale, exponent = a.scale.astype("<i2"), a.exponent.astype("<i4")[:, None]
    return np.concatenate([np.ascontiguousarray(part).view(np.uint8) for part in (a.codes, scale, exponent)], axis=1)


def from_row_bytes(data: np.ndarray, columns: int) -> Quantized:
    """Read rows as `to_bytes` writes them: uint8 of any shape, for rows of `columns` values."""
    padded = -(-columns // BLOCK) * BLOCK
    rows = data.reshape(-1, padded + padded // BLOCK * 2 + 4)
    codes, scale, exponent = np.split(rows, [padded, rows.shape[1] - 4], axis=1)
    return Quantized(
        codes.view(np.int8),
        np.ascontiguousarray(scale).view("<i2").astype(np.int16),
        np.ascontiguousarray(exponent).view("<i4").reshape(-1).astype(np.int32),
    )


def block_sums(a: Quantized, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Scaled sums of blocks of inputs for the minima: (T int16 (M, K / block), exponent int32 (M,)).

    The sum of a block's codes times its scale is T * 2 ** exponent, rounded to 13 bits and a sign.
    """
    sums = a.codes.astype(np.int64).reshape(len(a.codes), -1, block).sum(axis=2)
    sums *= np.repeat(a.scale, BLOCK // block, axis=1)
    amax = np.abs(sums).max(axis=1)
    e = shift_for(amax, 13)
    e = np.where(rshift(amax, e) > LARGEST_SUM, e + 1, e)
    return rshift(sums, e[:, None]).astype(np.int16), e.astype(np.int32)
