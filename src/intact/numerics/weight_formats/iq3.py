"""IQ3_XXS and IQ3_S: 8- or 9-bit indices of four magnitudes with eight levels, separate signs, 4-bit scales."""

import numpy as np

from intact.numerics.weight_formats.definition import BlockFields, BlockFormat, Bytes, bit_fields, join, pack_bits
from intact.numerics.weight_formats.iq_grids import (
    entry_parts,
    look_up,
    packed_signs,
    sign_bits,
    sign_bytes,
    sign_words,
)

HALVED = (2, 6, 10, 14, 18, 22, 26, 31)
"""The levels of IQ3_XXS divided by 2."""
ODD = tuple(range(1, 16, 2))


def _table(levels: tuple[int, ...], zero: int) -> tuple[int, ...]:
    """Return the entries by code: the index of a level, plus 8 if the value is negative."""
    return (*(zero + level for level in levels), *(zero - level for level in levels))


def _iq3_xxs(blocks: Bytes) -> BlockFields:
    words = np.ascontiguousarray(blocks[..., 66:]).view("<u4")
    codes = look_up("IQ3_XXS", blocks[..., 2:66].astype(np.int64), 4)
    scales = 2 * (words >> np.uint32(28)).astype(np.int64) + 1
    return BlockFields(codes | sign_bits(packed_signs(words)) << np.uint8(3), scales)


def _iq3_s(blocks: Bytes) -> BlockFields:
    index = blocks[..., 2:66] | sign_bits(blocks[..., 66:74]).astype(np.int64) << 8
    codes = look_up("IQ3_S", index, 4) | sign_bits(blocks[..., 74:106]) << np.uint8(3)
    return BlockFields(codes, 2 * bit_fields(blocks[..., 106:], 4, 1).astype(np.int64) + 1)


def _pack_iq3_xxs(fields: BlockFields) -> Bytes:
    index, signs, scale = entry_parts("IQ3_XXS", fields, 4, 3)
    words = (sign_words(signs) | scale.astype(np.uint32) << np.uint32(28)).astype("<u4")
    return join(2, index, words.view(np.uint8))


def _pack_iq3_s(fields: BlockFields) -> Bytes:
    index, signs, scale = entry_parts("IQ3_S", fields, 4, 3)
    high = sign_bytes((index >> 8).astype(np.uint8))
    return join(2, index & 255, high, signs, pack_bits(scale.astype(np.uint8), 4, 1))


IQ3_XXS = BlockFormat(
    "IQ3_XXS", gguf=18, values=256, size=98, bits=4, block=32, zero=31, shift=2, unpack=_iq3_xxs, pack=_pack_iq3_xxs,
    fraction=1, table=_table(HALVED, 31), spread=140.0,
)  # fmt: skip
IQ3_S = BlockFormat(
    "IQ3_S", gguf=21, values=256, size=110, bits=4, block=32, zero=15, shift=1, unpack=_iq3_s, pack=_pack_iq3_s,
    table=_table(ODD, 15), spread=140.0,
)  # fmt: skip
