"""IQ1_S: eight values of -1, 0 or 1 an index of 11 bits, all moved by an eighth up or down in each block of 32."""

import numpy as np

from intact.weights.definition import BlockFields, BlockFormat, Bytes, join
from intact.weights.iq_grids import find_entries, look_up

EIGHTHS = (-7, 1, 9, 0, -9, -1, 7, 0)
"""By code: a field of the codebook, plus 4 where values are moved down; codes 3 and 7 do not occur."""


def _iq1_s(blocks: Bytes) -> BlockFields:
    high = np.ascontiguousarray(blocks[..., 34:]).view("<u2").astype(np.int64)
    index = blocks[..., 2:34] | (high[..., None] >> np.arange(0, 12, 3) & 7).reshape(*high.shape[:-1], -1) << 8
    down = np.repeat((high >> 15).astype(np.uint8), 32, axis=-1)
    return BlockFields(look_up("IQ1_S", index, 2) | down << np.uint8(2), 2 * (high >> 12 & 7) + 1)


def _pack(fields: BlockFields) -> Bytes:
    assert fields.scale is not None
    index = find_entries("IQ1_S", fields.codes & np.uint8(3), 2)
    down = (fields.codes >> np.uint8(2)).reshape(*fields.scale.shape, 32)
    if np.any(down != down[..., :1]):
        raise ValueError("values of a block of 32 that are moved up and down")
    bits = (index >> 8).reshape(*fields.scale.shape, 4) << np.arange(0, 12, 3)
    high = bits.sum(axis=-1) | fields.scale >> 1 << 12 | down[..., 0].astype(np.int64) << 15
    return join(2, index & 255, np.ascontiguousarray(high.astype("<u2")).view(np.uint8))


IQ1_S = BlockFormat(
    "IQ1_S", gguf=19, values=256, size=50, bits=3, block=32, zero=9, shift=1, unpack=_iq1_s, pack=_pack,
    fraction=3, table=tuple(value + 9 for value in EIGHTHS + 8 * (0,)), spread=7.2,
)  # fmt: skip
