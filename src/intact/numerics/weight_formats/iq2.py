"""IQ2_XXS, IQ2_XS and IQ2_S: 8- to 10-bit indices of eight magnitudes 8, 25 or 43, separate signs, 4-bit scales."""

import numpy as np

from intact.numerics.weight_formats.definition import BlockFields, BlockFormat, Bytes, Int, bit_fields, join, pack_bits
from intact.numerics.weight_formats.iq_grids import (
    entry_parts,
    look_up,
    packed_signs,
    seven_signs,
    sign_bits,
    sign_words,
)

SIZES = (8, 25, 43)
VALUES = (8, 25, 43, 0, -8, -25, -43, 0)
"""Levels by code: a field of the codebook, plus 4 if the value is negative; codes 3 and 7 do not occur."""
TABLE = tuple(value + 43 for value in VALUES + 8 * (0,))


def _codes(kind: str, index: Int, signs: Bytes) -> Bytes:
    return look_up(kind, index, 2) | sign_bits(signs) << np.uint8(2)


def _odd(scales: Bytes) -> Int:
    return 2 * bit_fields(scales, 4, 1).astype(np.int64) + 1


def _iq2_xxs(blocks: Bytes) -> BlockFields:
    words = np.ascontiguousarray(blocks[..., 2:]).view("<u4").reshape(*blocks.shape[:-1], 8, 2)
    index = np.ascontiguousarray(words[..., 0]).view(np.uint8).astype(np.int64)
    scales = 2 * (words[..., 1] >> np.uint32(28)).astype(np.int64) + 1
    return BlockFields(_codes("IQ2_XXS", index, packed_signs(words[..., 1])), scales)


def _iq2_xs(blocks: Bytes) -> BlockFields:
    words = np.ascontiguousarray(blocks[..., 2:66]).view("<u2").astype(np.int64)
    seven = packed_signs((words >> 9).astype(np.uint32))[..., ::4]
    return BlockFields(_codes("IQ2_XS", words & 511, seven), _odd(blocks[..., 66:]))


def _iq2_s(blocks: Bytes) -> BlockFields:
    index = blocks[..., 2:34] | bit_fields(blocks[..., 66:74], 2, 1).astype(np.int64) << 8
    return BlockFields(_codes("IQ2_S", index, blocks[..., 34:66]), _odd(blocks[..., 74:]))


def _pack_iq2_xxs(fields: BlockFields) -> Bytes:
    index, signs, scale = entry_parts("IQ2_XXS", fields, 2, 2)
    words = sign_words(signs) | scale.astype(np.uint32) << np.uint32(28)
    low = index.astype(np.uint8).reshape(*words.shape, 4)
    pairs = join(low, np.ascontiguousarray(words[..., None], "<u4").view(np.uint8))
    return join(2, pairs.reshape(*words.shape[:-1], -1))


def _pack_iq2_xs(fields: BlockFields) -> Bytes:
    index, signs, scale = entry_parts("IQ2_XS", fields, 2, 2)
    words = (index | seven_signs(signs).astype(np.int64) << 9).astype("<u2")
    return join(2, words.view(np.uint8), pack_bits(scale.astype(np.uint8), 4, 1))


def _pack_iq2_s(fields: BlockFields) -> Bytes:
    index, signs, scale = entry_parts("IQ2_S", fields, 2, 2)
    high = pack_bits((index >> 8).astype(np.uint8), 2, 1)
    return join(2, index & 255, signs, high, pack_bits(scale.astype(np.uint8), 4, 1))


IQ2_XXS = BlockFormat(
    "IQ2_XXS", gguf=16, values=256, size=66, bits=3, block=32, zero=43, shift=3, unpack=_iq2_xxs, pack=_pack_iq2_xxs,
    fraction=3, table=TABLE, spread=53.0,
)  # fmt: skip
IQ2_XS = BlockFormat(
    "IQ2_XS", gguf=17, values=256, size=74, bits=3, block=16, zero=43, shift=3, unpack=_iq2_xs, pack=_pack_iq2_xs,
    fraction=3, table=TABLE, spread=56.0,
)  # fmt: skip
IQ2_S = BlockFormat(
    "IQ2_S", gguf=22, values=256, size=82, bits=3, block=16, zero=43, shift=3, unpack=_iq2_s, pack=_pack_iq2_s,
    fraction=3, table=TABLE, spread=57.0,
)  # fmt: skip
