"""Q6_K: 256 codes of 6 bits, the top two apart; 16 signed scales of 8 bits under a float16."""

import numpy as np

from intact.weights.definition import BlockFields, BlockFormat, Bytes, bit_fields


def _q6_k(blocks: Bytes) -> BlockFields:
    codes = bit_fields(blocks[..., :128], 4, 64) | bit_fields(blocks[..., 128:192], 2, 32) << np.uint8(4)
    return BlockFields(codes, blocks[..., 192:208].view(np.int8).astype(np.int64))


Q6_K = BlockFormat(
    "Q6_K", gguf=14, values=256, size=210, bits=6, block=16, zero=32, shift=2, unpack=_q6_k, scale_at=208,
    spread=1370.0, digest_place=9,
)  # fmt: skip
