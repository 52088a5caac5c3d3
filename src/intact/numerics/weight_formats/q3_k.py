"""Q3_K: 256 3-bit codes, the third bits stored separately; 16 6-bit scales, offset by 32, scaled by a float16."""

import numpy as np

from intact.numerics.weight_formats.definition import BlockFields, BlockFormat, Bytes, bit_fields, join, pack_bits


def _q3_k(blocks: Bytes) -> BlockFields:
    codes = bit_fields(blocks[..., 32:96], 2, 32) | bit_fields(blocks[..., :32], 1, 32) << np.uint8(2)
    scales = bit_fields(blocks[..., 96:104], 4, 8) | bit_fields(blocks[..., 104:108], 2, 4) << np.uint8(4)
    return BlockFields(codes, scales.astype(np.int64) - 32)


def _pack(fields: BlockFields) -> Bytes:
    assert fields.scale is not None
    low, high = fields.codes & np.uint8(3), fields.codes >> np.uint8(2)
    scales = (fields.scale + 32).astype(np.uint8)
    packed = pack_bits(scales & np.uint8(15), 4, 8), pack_bits(scales >> np.uint8(4), 2, 4)
    return join(pack_bits(high, 1, 32), pack_bits(low, 2, 32), *packed, 2)


Q3_K = BlockFormat(
    "Q3_K", gguf=11, values=256, size=110, bits=3, block=16, zero=4, shift=0, unpack=_q3_k, pack=_pack,
    scale_at=108, spread=42.0, digest_place=6,
)  # fmt: skip
