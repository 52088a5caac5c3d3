"""Q5_0 and Q5_1: like Q4_0 and Q4_1, with the fifth bit of each code stored separately."""

import numpy as np

from intact.numerics.weight_formats.definition import (
    BlockFields,
    BlockFormat,
    Bytes,
    bit_fields,
    constant,
    join,
    pack_bits,
)


def _codes(high: Bytes, low: Bytes) -> Bytes:
    return bit_fields(low, 4, 16) | np.unpackbits(high, axis=-1, bitorder="little") << np.uint8(4)


def _q5_0(blocks: Bytes) -> BlockFields:
    return BlockFields(_codes(blocks[..., 2:6], blocks[..., 6:]))


def _q5_1(blocks: Bytes) -> BlockFields:
    return BlockFields(_codes(blocks[..., 4:8], blocks[..., 8:]), minimum=constant(blocks, -1))


def _bits(codes: Bytes) -> tuple[Bytes, Bytes]:
    """Return the fifth bits of codes, and their lower four bits."""
    return np.packbits(codes >> np.uint8(4), axis=-1, bitorder="little"), pack_bits(codes & np.uint8(15), 4, 16)


def _pack_q5_0(fields: BlockFields) -> Bytes:
    return join(2, *_bits(fields.codes))


def _pack_q5_1(fields: BlockFields) -> Bytes:
    return join(4, *_bits(fields.codes))


Q5_0 = BlockFormat(
    "Q5_0", gguf=6, values=32, size=22, bits=5, block=32, zero=16, shift=1, unpack=_q5_0, pack=_pack_q5_0,
    spread=9.2, digest_place=2,
)  # fmt: skip
Q5_1 = BlockFormat(
    "Q5_1", gguf=7, values=32, size=24, bits=5, block=32, zero=16, shift=1, unpack=_q5_1, pack=_pack_q5_1,
    minimum_at=2, spread=9.2, typical_minimum=-15.5, digest_place=3,
)  # fmt: skip
