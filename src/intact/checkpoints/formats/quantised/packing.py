"""Unpacking small numbers from words and bytes."""

from __future__ import annotations

import numpy as np

from intact.numerics.weight_formats import Bytes
from intact.numerics.weight_formats.definition import bit_fields


def unpack_words(words: Bytes, bits: int) -> Bytes:
    """Return the numbers in rows of little-endian 32-bit words, lowest bits first; numbers may straddle words.

    Parameters
    ----------
    words : uint8 (rows, bytes)
    """
    if 8 % bits == 0:
        return bit_fields(words, bits, 1)
    stream = np.unpackbits(words, axis=-1, bitorder="little").reshape(len(words), -1, bits)
    numbers = stream[..., 0].copy()
    for i in range(1, bits):
        numbers |= stream[..., i] << np.uint8(i)
    return numbers


def unpack_nibbles(data: Bytes, low_first: bool) -> Bytes:
    """Return the two numbers of each byte, in order."""
    both = np.stack([data & 15, data >> 4] if low_first else [data >> 4, data & 15], axis=-1)
    return both.reshape(*data.shape[:-1], -1)
