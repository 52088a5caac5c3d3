"""Q8_0: 32 signed bytes with a float16 scale."""

import numpy as np

from intact.numerics.weight_formats.definition import BlockFields, BlockFormat, Bytes, join


def _q8_0(blocks: Bytes) -> BlockFields:
    return BlockFields(blocks[..., 2:] ^ np.uint8(128))


def _pack(fields: BlockFields) -> Bytes:
    return join(2, fields.codes ^ np.uint8(128))


Q8_0 = BlockFormat(
    "Q8_0", gguf=8, values=32, size=34, bits=8, block=32, zero=128, shift=4, unpack=_q8_0, pack=_pack,
    spread=74.0, digest_place=4,
)  # fmt: skip
