"""IQ1_S and IQ1_M: an 11-bit index selects eight values of -1, 0 or 1, all shifted up or down by an eighth.

IQ1_S shifts all values of a block of 32 in the same direction; IQ1_M shifts each group of eight separately.
"""

import numpy as np

from intact.numerics.weight_formats.definition import BlockFields, BlockFormat, Bytes, Int, bit_fields, join, pack_bits
from intact.numerics.weight_formats.iq_grids import find_entries, look_up

EIGHTHS = (-7, 1, 9, 0, -9, -1, 7, 0)
"""Levels by code: a field of the codebook, plus 4 if the value is shifted down; codes 3 and 7 do not occur."""
TABLE = tuple(value + 9 for value in EIGHTHS + 8 * (0,))


def _words(data: Bytes) -> Int:
    return np.ascontiguousarray(data).view("<u2").astype(np.int64)


def _codes(index: Int, down: Bytes) -> Bytes:
    """Return the codes of entries, (..., n), shifted down where `down`, (..., m), is 1: (..., 8 n)."""
    fields = look_up("IQ1_S", index, 2)
    return fields | np.repeat(down, fields.shape[-1] // down.shape[-1], axis=-1) << np.uint8(2)


def _moves(fields: BlockFields, together: int) -> Bytes:
    """Return 1 for each group of values that is shifted down, and 0 for each group that is shifted up.

    Raises
    ------
    ValueError
        If a group contains values shifted in both directions.
    """
    down = (fields.codes >> np.uint8(2)).reshape(*fields.codes.shape[:-1], -1, together)
    if np.any(down != down[..., :1]):
        raise ValueError(f"values of a block of {together} that are moved up and down")
    first: Bytes = down[..., 0]
    return first


def _iq1_s(blocks: Bytes) -> BlockFields:
    high = _words(blocks[..., 34:])
    index = blocks[..., 2:34] | (high[..., None] >> np.arange(0, 12, 3) & 7).reshape(*high.shape[:-1], -1) << 8
    return BlockFields(_codes(index, (high >> 15).astype(np.uint8)), 2 * (high >> 12 & 7) + 1)


def _pack_iq1_s(fields: BlockFields) -> Bytes:
    assert fields.scale is not None
    index, down = find_entries("IQ1_S", fields.codes & np.uint8(3), 2), _moves(fields, 32)
    bits = (index >> 8).reshape(*fields.scale.shape, 4) << np.arange(0, 12, 3)
    high = bits.sum(axis=-1) | fields.scale >> 1 << 12 | down.astype(np.int64) << 15
    return join(2, index & 255, np.ascontiguousarray(high.astype("<u2")).view(np.uint8))


def _iq1_m(blocks: Bytes) -> BlockFields:
    high = bit_fields(blocks[..., 32:48], 4, 1)
    index = blocks[..., :32] | (high & np.uint8(7)).astype(np.int64) << 8
    scale = (_words(blocks[..., 48:])[..., None] >> np.arange(0, 12, 3) & 7).reshape(*index.shape[:-1], 16)
    return BlockFields(_codes(index, high >> np.uint8(3)), 2 * scale + 1)


def _pack_iq1_m(fields: BlockFields) -> Bytes:
    assert fields.scale is not None
    index, down = find_entries("IQ1_S", fields.codes & np.uint8(3), 2), _moves(fields, 8)
    high = pack_bits((index >> 8).astype(np.uint8) | down << np.uint8(3), 4, 1)
    scale = ((fields.scale >> 1).reshape(*index.shape[:-1], 4, 4) << np.arange(0, 12, 3)).sum(axis=-1)
    return join(index & 255, high, np.ascontiguousarray(scale.astype("<u2")).view(np.uint8))


IQ1_S = BlockFormat(
    "IQ1_S", gguf=19, values=256, size=50, bits=3, block=32, zero=9, shift=1, unpack=_iq1_s, pack=_pack_iq1_s,
    fraction=3, table=TABLE, spread=7.2,
)  # fmt: skip
IQ1_M = BlockFormat(
    "IQ1_M", gguf=29, values=256, size=56, bits=3, block=16, zero=9, shift=1, unpack=_iq1_m, pack=_pack_iq1_m,
    fraction=3, scale_at=48, scale_in_words=True, table=TABLE, spread=7.2,
)  # fmt: skip
