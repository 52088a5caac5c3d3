"""Q5_0 and Q5_1: as Q4_0 and Q4_1, with a fifth bit of each code apart."""

import numpy as np

from intact.weights.definition import BlockFields, BlockFormat, Bytes, bit_fields, constant


def _codes(high: Bytes, low: Bytes) -> Bytes:
    return bit_fields(low, 4, 16) | np.unpackbits(high, axis=-1, bitorder="little") << np.uint8(4)


def _q5_0(blocks: Bytes) -> BlockFields:
    return BlockFields(_codes(blocks[..., 2:6], blocks[..., 6:]))


def _q5_1(blocks: Bytes) -> BlockFields:
    return BlockFields(_codes(blocks[..., 4:8], blocks[..., 8:]), minimum=constant(blocks, -1))


Q5_0 = BlockFormat(
    "Q5_0", gguf=6, values=32, size=22, bits=5, block=32, zero=16, shift=1, unpack=_q5_0, spread=9.2, digest_place=2
)
Q5_1 = BlockFormat(
    "Q5_1", gguf=7, values=32, size=24, bits=5, block=32, zero=16, shift=1, unpack=_q5_1, minimum_at=2,
    spread=9.2, typical_minimum=-15.5, digest_place=3,
)  # fmt: skip
