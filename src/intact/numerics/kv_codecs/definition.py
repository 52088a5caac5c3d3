"""A codec of the KV cache: rotated heads stored with fewer bits per number (docs/spec/numerics.md, section 7).

A codec converts the keys and values that section 7 computes into the form in which pages store them. Attention decodes
them to the integers that it always reads (12-bit keys and 8-bit values, with one scale each), and is otherwise
unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from intact.numerics.attention import Heads
from intact.numerics.fixed import Int, rshift, sat32
from intact.numerics.hadamard import hadamard

GRANULE: Final = 8
"""The width of heads must be a multiple of this, so every rotated block has at least this size."""
LARGEST_BLOCK: Final = 256
STEPS: Final = (17, 16, 15, 14, 13, 12)
"""Step sizes to try for a vector of 4-bit codes, in sixteenths of the smallest step that covers its largest number."""
KEY_UNIT, VALUE_UNIT = 16, 1
"""The size of one step of an 8-bit code, in units of section 7's codes."""


@dataclass(frozen=True)
class KvCodec:
    """The number of bits with which keys and values are stored.

    Attributes
    ----------
    name : str
        Name by which users select it.
    summary : str
        One-line description.
    key_bits, value_bits : {8, 4}
        Bits per number.
    """

    name: str
    summary: str
    key_bits: int
    value_bits: int

    def __post_init__(self) -> None:
        if self.key_bits not in (8, 4) or self.value_bits not in (8, 4):
            raise ValueError(f"codec {self.name}: bits must be 8 or 4, got {self.key_bits} and {self.value_bits}")

    def holds(self, width: int) -> bool:
        """Return true if the codec supports this head width."""
        return width % GRANULE == 0

    def position_bytes(self, width: int) -> int:
        """Return the bytes per position and head for key and value, including two scales and padding to 16."""
        return -(-width // 16) * 2 * (self.key_bits + self.value_bits) + 8


def plain_bytes(width: int) -> int:
    """Return the bytes per position and head for key and value in native pages without a codec."""
    return -(-width // 16) * 48 + 8


def rotation_block(width: int) -> int:
    """Return the block size for rotating a head: the largest power of two, up to 256, that divides its width."""
    return min(width & -width, LARGEST_BLOCK)


def rotate_kept(x: Int) -> Int:
    """Rotate keys or values, (..., width) in Q16: ``sat32(rshift(H x, ceil(l / 2)))``, l = log2 of the block size."""
    return _rotate(x, kept=True)


def rotate_query(x: Int) -> Int:
    """Rotate queries, or rotate results back, (..., width) in Q16: ``sat32(rshift(H x, floor(l / 2)))``.

    Since H H is the block's size times the identity, products of rotated queries and keys equal those of the originals,
    and results from rotated values, when rotated once more, equal those from the original values, up to rounding.
    """
    return _rotate(x, kept=False)


def _rotate(x: Int, *, kept: bool) -> Int:
    block = rotation_block(x.shape[-1])
    bits = block.bit_length() - 1
    return sat32(rshift(hadamard(np.asarray(x, np.int64), block), bits - bits // 2 if kept else bits // 2))


def narrow(heads: Heads, bits: int, unit: int) -> Heads:
    """Reduce quantised heads, codes (..., width) and scales (...), to codes of 8 or 4 bits.

    Parameters
    ----------
    unit : int
        `KEY_UNIT` for keys, `VALUE_UNIT` for values.

    Notes
    -----
    8 bits: ``rshift(code, log2 unit)`` clipped to -127..127, under the same scale.

    4 bits: for each n of `STEPS`, ``q = floor(code / (n unit))`` clipped to -8..7 represents ``(2 q + 1) n unit / 2``;
    the first n with the smallest sum of squared errors is used, and the scale becomes ``max(1, rshift(scale n, 4))``.
    """
    if bits == 8:
        return Heads(np.clip(rshift(heads.codes, unit.bit_length() - 1), -127, 127), heads.scale)
    codes = np.asarray(heads.codes, np.int64)
    steps = np.array(STEPS, np.int64) * unit
    each = np.clip(codes[..., None, :] // steps[:, None], -8, 7)
    error = ((2 * codes[..., None, :] - (2 * each + 1) * steps[:, None]) ** 2).sum(axis=-1)
    best = error.argmin(axis=-1)[..., None]
    chosen = np.take_along_axis(each, best[..., None], axis=-2)[..., 0, :]
    n = np.array(STEPS, np.int64)[best[..., 0]]
    return Heads(chosen, np.maximum(rshift(heads.scale * n, 4), 1))


def widen(codes: Int, bits: int, unit: int) -> Int:
    """Return the codes of section 7 that narrow codes represent, under the scale returned by `narrow`.

    8 bits: ``code unit``; 4 bits: ``(2 code + 1) 8 unit``.
    """
    codes = np.asarray(codes, np.int64)
    return codes * unit if bits == 8 else (2 * codes + 1) * (8 * unit)
