"""The definition of a weight format, and the unpacking functions that formats share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
"""Bytes of a file, as a NumPy array of uint8."""
Int = NDArray[np.int64]


class BlockFields(NamedTuple):
    """The integers of blocks, one block per row of the last axis."""

    codes: Bytes
    """Unsigned codes, (..., values)."""
    scale: Int | None = None
    """Multipliers of the block's float16 scale d, (..., sub-blocks); None for 1. In formats without d: the exponent
    bytes x of the scales 2^(x - 128).
    """
    minimum: Int | None = None
    """Multipliers of the block's float16 minimum e, (..., sub-blocks)."""


class Half(NamedTuple):
    """Position and storage form of one of a block's float16 numbers."""

    at: int
    """Byte offset in the block."""
    in_words: bool = False
    """If true, its nibbles are the top four bits of four consecutive 16-bit words, lowest nibble first."""

    def read(self, blocks: Bytes) -> NDArray[np.uint16]:
        """Return the bits of the number in each block: uint8 (..., size) to (...)."""
        if not self.in_words:
            return self._words(blocks, 1)[..., 0]
        words = self._words(blocks, 4)
        bits: NDArray[np.uint16] = np.bitwise_or.reduce(words >> np.uint16(12) << NIBBLES, axis=-1, dtype=np.uint16)
        return bits

    def write(self, blocks: Bytes, bits: NDArray[np.uint16]) -> None:
        """Set the number in each block, in place, leaving the other bits of the words unchanged."""
        words = np.asarray(bits, np.uint16)[..., None]
        if self.in_words:
            words = self._words(blocks, 4) & np.uint16(0xFFF) | words >> NIBBLES << np.uint16(12)
        as_bytes = np.ascontiguousarray(words, "<u2").view(np.uint8)
        blocks[..., self.at : self.at + as_bytes.shape[-1]] = as_bytes

    def _words(self, blocks: Bytes, count: int) -> NDArray[np.uint16]:
        return np.ascontiguousarray(blocks[..., self.at : self.at + 2 * count]).view("<u2").astype(np.uint16)


NIBBLES: Final = np.arange(0, 16, 4, dtype=np.uint16)


@dataclass(frozen=True)
class FloatFormat:
    """A format that stores each value separately as a floating-point number."""

    name: str
    gguf: int
    """The type's number in GGUF files."""
    size: int
    """Number of bytes per value."""
    decode: Callable[[Bytes], NDArray[np.float32]]
    """Decode little-endian bytes to exact values; the last axis has `size` bytes per value."""
    values: int = 1


@dataclass(frozen=True)
class BlockFormat:
    """A format that stores blocks of codes with scales.

    Value k of a block, in its sub-block b, is ``d * scale[b] * 2^-fraction * (T[code[k]] - zero)`` or, with minima,
    ``d * scale[b] * code[k] - e * minimum[b]``; T is the table or the identity.
    """

    name: str
    gguf: int
    values: int
    """Number of values per block."""
    size: int
    """Number of bytes per block."""
    bits: int
    """Number of bits per code: 2, 3, 4, 5, 6 or 8, the widths with a layout in native/runtime/weight.h."""
    block: int
    """Number of values per sub-block, which share a scale: 32 or 16."""
    zero: int
    """The code, or the table entry, of the value 0."""
    shift: int
    """r of docs/spec/numerics.md, section 1: the right shift that rounds a sub-block's sum of products."""
    unpack: Callable[[Bytes], BlockFields]
    """Unpack blocks, uint8 (..., size), into fields."""
    pack: Callable[[BlockFields], Bytes] | None = None
    """Pack fields into blocks: the inverse of `unpack`, with float16 numbers set to 0; None if not supported."""
    fraction: int = 0
    """Fraction bits of scales, whose unit is 2^-fraction; 0 for formats with minima or power-of-two scales."""
    scale_at: int | None = 0
    """Byte offset of the float16 d; None if scales are powers of two, stored as exponent bytes."""
    scale_in_words: bool = False
    """If true, d is stored in the top nibbles of four words (`Half.in_words`)."""
    minimum_at: int | None = None
    """Byte offset of the float16 e; None for formats without minima."""
    table: tuple[int, ...] | None = None
    """16 non-negative entries."""
    spread: float = 1.0
    """Approximate root mean square of random blocks with d = 1, used to scale conformance data."""
    typical_minimum: float = 0.0
    """e / d in conformance data."""
    digest_place: int | None = None
    """Position in the operations digest of numerics version 1 (docs/spec/contract.md); None for formats added later."""

    @property
    def halves(self) -> tuple[Half, ...]:
        """The block's float16 numbers: d, then e."""
        d = () if self.scale_at is None else (Half(self.scale_at, self.scale_in_words),)
        return d if self.minimum_at is None else (*d, Half(self.minimum_at))


def bit_fields(packed: Bytes, width: int, run: int) -> Bytes:
    """Extract fields of `width` bits: from each `run` bytes, all lowest fields first, then all next ones, and so on."""
    lanes = packed.reshape(*packed.shape[:-1], -1, 1, run)
    shifts = np.arange(0, 8, width, dtype=np.uint8)[:, None]
    fields = lanes >> shifts & np.uint8((1 << width) - 1)
    return fields.astype(np.uint8).reshape(*packed.shape[:-1], -1)


def pack_bits(fields: Bytes, width: int, run: int) -> Bytes:
    """Pack fields of `width` bits into bytes: the inverse of `bit_fields`."""
    lanes = fields.reshape(*fields.shape[:-1], -1, 8 // width, run)
    shifts = np.arange(0, 8, width, dtype=np.uint8)[:, None]
    packed: Bytes = np.bitwise_or.reduce(lanes << shifts, axis=-2).astype(np.uint8)
    return packed.reshape(*fields.shape[:-1], -1)


def join(*parts: Bytes | Int | int) -> Bytes:
    """Concatenate parts along the last axis into blocks; an integer part represents that many zero bytes."""
    shape = next(part.shape[:-1] for part in parts if not isinstance(part, int))
    whole = [np.zeros((*shape, part), np.uint8) if isinstance(part, int) else part.astype(np.uint8) for part in parts]
    return np.concatenate(whole, axis=-1)


def constant(like: Bytes, value: int) -> Int:
    """Return a scale or minimum that is the same for the single sub-block of every block of `like`."""
    return np.full((*like.shape[:-1], 1), value, np.int64)
