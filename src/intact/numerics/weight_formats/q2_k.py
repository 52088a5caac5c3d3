"""Q2_K: 256 2-bit codes; 16 scales and 16 minima of 4 bits, scaled by two float16."""

import numpy as np

from intact.numerics.weight_formats.definition import BlockFields, BlockFormat, Bytes, bit_fields, join, pack_bits


def _q2_k(blocks: Bytes) -> BlockFields:
    pairs = blocks[..., :16].astype(np.int64)
    return BlockFields(bit_fields(blocks[..., 16:80], 2, 32), pairs & 15, pairs >> 4)


def _pack(fields: BlockFields) -> Bytes:
    assert fields.scale is not None
    assert fields.minimum is not None
    return join(fields.scale | fields.minimum << 4, pack_bits(fields.codes, 2, 32), 4)


Q2_K = BlockFormat(
    "Q2_K", gguf=10, values=256, size=84, bits=2, block=16, zero=2, shift=0, unpack=_q2_k, pack=_pack,
    scale_at=80, minimum_at=82, spread=13.0, typical_minimum=1.5, digest_place=5,
)  # fmt: skip
