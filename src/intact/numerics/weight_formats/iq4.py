"""IQ4_NL and IQ4_XS: 4-bit codes into a table of values; IQ4_XS has eight 6-bit scales, offset by 32, per block."""

import numpy as np

from intact.numerics.weight_formats.definition import BlockFields, BlockFormat, Bytes, bit_fields, join, pack_bits

VALUES = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)


def _iq4_nl(blocks: Bytes) -> BlockFields:
    return BlockFields(bit_fields(blocks[..., 2:], 4, 16))


def _iq4_xs(blocks: Bytes) -> BlockFields:
    scales = bit_fields(blocks[..., 4:8], 4, 1) | bit_fields(blocks[..., 2:4], 2, 1) << np.uint8(4)
    return BlockFields(bit_fields(blocks[..., 8:], 4, 16), scales.astype(np.int64) - 32)


def _pack_iq4_nl(fields: BlockFields) -> Bytes:
    return join(2, pack_bits(fields.codes, 4, 16))


def _pack_iq4_xs(fields: BlockFields) -> Bytes:
    assert fields.scale is not None
    scales = (fields.scale + 32).astype(np.uint8)
    packed = pack_bits(scales >> np.uint8(4), 2, 1), pack_bits(scales & np.uint8(15), 4, 1)
    return join(2, *packed, pack_bits(fields.codes, 4, 16))


IQ4_NL = BlockFormat(
    "IQ4_NL", gguf=20, values=32, size=18, bits=4, block=32, zero=128, shift=4, unpack=_iq4_nl, pack=_pack_iq4_nl,
    table=tuple(value + 128 for value in VALUES), spread=67.0, digest_place=10,
)  # fmt: skip
IQ4_XS = BlockFormat(
    "IQ4_XS", gguf=23, values=256, size=136, bits=4, block=32, zero=128, shift=4, unpack=_iq4_xs, pack=_pack_iq4_xs,
    table=tuple(value + 128 for value in VALUES), spread=1240.0, digest_place=11,
)  # fmt: skip
