"""Q4_0 and Q4_1: 32 4-bit codes with a float16 scale; Q4_1 also has a float16 minimum, which is added."""

from intact.numerics.weight_formats.definition import (
    BlockFields,
    BlockFormat,
    Bytes,
    bit_fields,
    constant,
    join,
    pack_bits,
)


def _q4_0(blocks: Bytes) -> BlockFields:
    return BlockFields(bit_fields(blocks[..., 2:], 4, 16))


def _q4_1(blocks: Bytes) -> BlockFields:
    return BlockFields(bit_fields(blocks[..., 4:], 4, 16), minimum=constant(blocks, -1))


def _pack_q4_0(fields: BlockFields) -> Bytes:
    return join(2, pack_bits(fields.codes, 4, 16))


def _pack_q4_1(fields: BlockFields) -> Bytes:
    return join(4, pack_bits(fields.codes, 4, 16))


Q4_0 = BlockFormat(
    "Q4_0", gguf=2, values=32, size=18, bits=4, block=32, zero=8, shift=0, unpack=_q4_0, pack=_pack_q4_0,
    spread=4.6, digest_place=0,
)  # fmt: skip
Q4_1 = BlockFormat(
    "Q4_1", gguf=3, values=32, size=20, bits=4, block=32, zero=8, shift=0, unpack=_q4_1, pack=_pack_q4_1,
    minimum_at=2, spread=4.6, typical_minimum=-7.5, digest_place=1,
)  # fmt: skip
