"""Q6_K: 256 6-bit codes, the top two bits stored separately; 16 signed 8-bit scales, scaled by a float16."""

import numpy as np

from intact.numerics.weight_formats.definition import BlockFields, BlockFormat, Bytes, bit_fields, join, pack_bits


def _q6_k(blocks: Bytes) -> BlockFields:
    codes = bit_fields(blocks[..., :128], 4, 64) | bit_fields(blocks[..., 128:192], 2, 32) << np.uint8(4)
    return BlockFields(codes, blocks[..., 192:208].view(np.int8).astype(np.int64))


def _pack(fields: BlockFields) -> Bytes:
    assert fields.scale is not None
    low, high = fields.codes & np.uint8(15), fields.codes >> np.uint8(4)
    return join(pack_bits(low, 4, 64), pack_bits(high, 2, 32), fields.scale & 255, 2)


Q6_K = BlockFormat(
    "Q6_K", gguf=14, values=256, size=210, bits=6, block=16, zero=32, shift=2, unpack=_q6_k, pack=_pack,
    scale_at=208, spread=1370.0, digest_place=9,
)  # fmt: skip
