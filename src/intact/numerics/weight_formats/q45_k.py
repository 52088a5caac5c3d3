"""Q4_K and Q5_K: 256 codes of 4 or 5 bits; 8 scales and 8 minima of 6 bits, scaled by two float16."""

import numpy as np

from intact.numerics.weight_formats.definition import BlockFields, BlockFormat, Bytes, Int, bit_fields, join, pack_bits


def _scales_and_minima(packed: Bytes) -> tuple[Int, Int]:
    """Unpack eight 6-bit scales and eight 6-bit minima from 12 bytes; four of each are split between two places."""
    low, middle, high = (packed[..., at : at + 4].astype(np.int64) for at in (0, 4, 8))
    scales = np.concatenate([low & 63, high & 15 | low >> 2 & 48], axis=-1)
    minima = np.concatenate([middle & 63, high >> 4 | middle >> 2 & 48], axis=-1)
    return scales, minima


def _q4_k(blocks: Bytes) -> BlockFields:
    return BlockFields(bit_fields(blocks[..., 16:], 4, 32), *_scales_and_minima(blocks[..., 4:16]))


def _q5_k(blocks: Bytes) -> BlockFields:
    codes = bit_fields(blocks[..., 48:], 4, 32) | bit_fields(blocks[..., 16:48], 1, 32) << np.uint8(4)
    return BlockFields(codes, *_scales_and_minima(blocks[..., 4:16]))


def _pack_scales_and_minima(fields: BlockFields) -> Bytes:
    """Pack the 12 bytes that `_scales_and_minima` reads."""
    assert fields.scale is not None
    assert fields.minimum is not None
    (s, s_split), (m, m_split) = ((x[..., :4], x[..., 4:]) for x in (fields.scale, fields.minimum))
    return join(s | s_split >> 4 << 6, m | m_split >> 4 << 6, s_split & 15 | (m_split & 15) << 4)


def _pack_q4_k(fields: BlockFields) -> Bytes:
    return join(4, _pack_scales_and_minima(fields), pack_bits(fields.codes, 4, 32))


def _pack_q5_k(fields: BlockFields) -> Bytes:
    high, low = fields.codes >> np.uint8(4), fields.codes & np.uint8(15)
    return join(4, _pack_scales_and_minima(fields), pack_bits(high, 1, 32), pack_bits(low, 4, 32))


Q4_K = BlockFormat(
    "Q4_K", gguf=12, values=256, size=144, bits=4, block=32, zero=8, shift=0, unpack=_q4_k, pack=_pack_q4_k,
    minimum_at=2, spread=240.0, typical_minimum=7.5, digest_place=7,
)  # fmt: skip
Q5_K = BlockFormat(
    "Q5_K", gguf=13, values=256, size=176, bits=5, block=32, zero=16, shift=1, unpack=_q5_k, pack=_pack_q5_k,
    minimum_at=2, spread=480.0, typical_minimum=15.5, digest_place=8,
)  # fmt: skip
