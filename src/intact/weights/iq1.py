"""IQ1_S: eight values of -1, 0 or 1 an index of 11 bits, all moved by an eighth up or down in each block of 32."""

import numpy as np

from intact.weights.definition import BlockFields, BlockFormat, Bytes
from intact.weights.iq_grids import look_up

EIGHTHS = (-7, 1, 9, 0, -9, -1, 7, 0)
"""By code: a field of the codebook, plus 4 where values are moved down; codes 3 and 7 do not occur."""


def _iq1_s(blocks: Bytes) -> BlockFields:
    high = np.ascontiguousarray(blocks[..., 34:]).view("<u2").astype(np.int64)
    index = blocks[..., 2:34] | (high[..., None] >> np.arange(0, 12, 3) & 7).reshape(*high.shape[:-1], -1) << 8
    down = np.repeat((high >> 15).astype(np.uint8), 32, axis=-1)
    return BlockFields(look_up("IQ1_S", index, 2) | down << np.uint8(2), 2 * (high >> 12 & 7) + 1)


IQ1_S = BlockFormat(
    "IQ1_S", gguf=19, values=256, size=50, bits=3, block=32, zero=9, shift=1, unpack=_iq1_s, fraction=3,
    table=tuple(value + 9 for value in EIGHTHS + 8 * (0,)), spread=7.2,
)  # fmt: skip
