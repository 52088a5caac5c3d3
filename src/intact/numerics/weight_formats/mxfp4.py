"""MXFP4: 32 4-bit floats (E2M1) with a power-of-two scale.

Source: OCP Microscaling Formats specification 1.0, section 5.
"""

import numpy as np

from intact.numerics.weight_formats.definition import BlockFields, BlockFormat, Bytes, bit_fields, join, pack_bits

DOUBLED = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)


def _mxfp4(blocks: Bytes) -> BlockFields:
    return BlockFields(bit_fields(blocks[..., 1:], 4, 16), blocks[..., :1].astype(np.int64))


def _pack(fields: BlockFields) -> Bytes:
    assert fields.scale is not None
    return join(fields.scale, pack_bits(fields.codes, 4, 16))


MXFP4 = BlockFormat(
    "MXFP4", gguf=39, values=32, size=17, bits=4, block=32, zero=12, shift=1, unpack=_mxfp4, pack=_pack,
    scale_at=None, table=tuple(value + 12 for value in DOUBLED), spread=6.0, digest_place=12,
)  # fmt: skip
