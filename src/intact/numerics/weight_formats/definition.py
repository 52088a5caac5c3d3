"""The definition of a weight format, and the unpacking that formats share."""

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
    """The integers of blocks, one row of the last axis a block."""

    codes: Bytes
    """(..., values): unsigned."""
    scale: Int | None = None
    """(..., sub-blocks): what multiplies the block's float16 scale d; None for 1. Without a d, the exponent byte x of
    the scale 2^(x - 128)."""
    minimum: Int | None = None
    """(..., sub-blocks): what multiplies the block's float16 minimum e."""


class Half(NamedTuple):
    """A block's float16: its place, and how it lies there."""

    at: int
    """Its byte in the block."""
    in_words: bool = False
    """If true, four 16-bit words from there on have its nibbles in their highest bits, the lowest nibble first."""

    def read(self, blocks: Bytes) -> NDArray[np.uint16]:
        """Return the bits of the number of each block: uint8 (..., size) to (...)."""
        if not self.in_words:
            return self._words(blocks, 1)[..., 0]
        words = self._words(blocks, 4)
        bits: NDArray[np.uint16] = np.bitwise_or.reduce(words >> np.uint16(12) << NIBBLES, axis=-1, dtype=np.uint16)
        return bits

    def write(self, blocks: Bytes, bits: NDArray[np.uint16]) -> None:
        """Set the number of each block, in place; all else of the words stays."""
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
    """A format that stores each value by itself as a floating-point number."""

    name: str
    gguf: int
    """The type's number in GGUF files."""
    size: int
    """Bytes of a value."""
    decode: Callable[[Bytes], NDArray[np.float32]]
    """Return the values of little-endian bytes, exactly; the last axis has `size` bytes a value."""
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
    """Values of one block."""
    size: int
    """Bytes of one block."""
    bits: int
    """Of a code; 2, 3, 4, 5, 6 or 8, for which native/runtime/weight.h has a layout."""
    block: int
    """Values of a sub-block, which share a scale: 32 or 16."""
    zero: int
    """The code, or the table's entry, of the value 0."""
    shift: int
    """r of docs/numerics.md, section 1: a sum of products with a sub-block is rounded right by it."""
    unpack: Callable[[Bytes], BlockFields]
    """Return the fields of blocks, uint8 (..., size)."""
    pack: Callable[[BlockFields], Bytes] | None = None
    """Return blocks of fields, the inverse of `unpack`, with float16 numbers of 0; None if none are written."""
    fraction: int = 0
    """Scales count in units of 2^-fraction; formats with minima or powers of two have none."""
    scale_at: int | None = 0
    """Where in the block the float16 d lies; None if scales are powers of two, by exponent bytes."""
    scale_in_words: bool = False
    """If true, d lies in the highest nibbles of four words (`Half.in_words`)."""
    minimum_at: int | None = None
    """Where the float16 e lies; None without minima."""
    table: tuple[int, ...] | None = None
    """16 entries, none negative."""
    spread: float = 1.0
    """Root mean square of random blocks with d = 1, about: conformance data are scaled by it."""
    typical_minimum: float = 0.0
    """e / d in conformance data."""
    digest_place: int | None = None
    """Place in the operations digest of numerics version 1 (docs/contract.md); None for formats that came later."""

    @property
    def halves(self) -> tuple[Half, ...]:
        """The block's float16 numbers: d, then e."""
        d = () if self.scale_at is None else (Half(self.scale_at, self.scale_in_words),)
        return d if self.minimum_at is None else (*d, Half(self.minimum_at))


def bit_fields(packed: Bytes, width: int, run: int) -> Bytes:
    """Return fields of `width` bits: of each `run` bytes first all lowest fields, then the next, and so on."""
    lanes = packed.reshape(*packed.shape[:-1], -1, 1, run)
    shifts = np.arange(0, 8, width, dtype=np.uint8)[:, None]
    fields = lanes >> shifts & np.uint8((1 << width) - 1)
    return fields.astype(np.uint8).reshape(*packed.shape[:-1], -1)


def pack_bits(fields: Bytes, width: int, run: int) -> Bytes:
    """Return fields of `width` bits as bytes: the inverse of `bit_fields`."""
    lanes = fields.reshape(*fields.shape[:-1], -1, 8 // width, run)
    shifts = np.arange(0, 8, width, dtype=np.uint8)[:, None]
    packed: Bytes = np.bitwise_or.reduce(lanes << shifts, axis=-2).astype(np.uint8)
    return packed.reshape(*fields.shape[:-1], -1)


def join(*parts: Bytes | Int | int) -> Bytes:
    """Return the bytes of blocks: parts one after the other along the last axis, a number for so many zeros."""
    shape = next(part.shape[:-1] for part in parts if not isinstance(part, int))
    whole = [np.zeros((*shape, part), np.uint8) if isinstance(part, int) else part.astype(np.uint8) for part in parts]
    return np.concatenate(whole, axis=-1)


def constant(like: Bytes, value: int) -> Int:
    """Return one sub-block's scale or minimum that is the same in every block of `like`."""
    return np.full((*like.shape[:-1], 1), value, np.int64)
