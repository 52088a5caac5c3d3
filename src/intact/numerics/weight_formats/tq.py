"""TQ1_0 and TQ2_0: 256 ternary codes with a float16 scale; TQ1_0 packs five codes into a byte."""

import numpy as np

from intact.numerics.weight_formats.definition import BlockFields, BlockFormat, Bytes, bit_fields


def _trits(packed: Bytes, count: int) -> Bytes:
    """Return `count` base-3 digits of each fixed-point byte, the most significant digits of all bytes first."""
    powers = np.array([3**i for i in range(count)], np.uint8)[:, None]
    digits = (packed[..., None, :] * powers).astype(np.uint16) * np.uint16(3) >> np.uint16(8)
    return digits.astype(np.uint8).reshape(*packed.shape[:-1], -1)


def _tq1_0(blocks: Bytes) -> BlockFields:
    parts = (_trits(blocks[..., :32], 5), _trits(blocks[..., 32:48], 5), _trits(blocks[..., 48:52], 4))
    return BlockFields(np.concatenate(parts, axis=-1))


def _tq2_0(blocks: Bytes) -> BlockFields:
    return BlockFields(bit_fields(blocks[..., :64], 2, 32))


TQ1_0 = BlockFormat(
    "TQ1_0", gguf=34, values=256, size=54, bits=2, block=32, zero=1, shift=0, unpack=_tq1_0, scale_at=52,
    spread=0.8, digest_place=13,
)  # fmt: skip
TQ2_0 = BlockFormat(
    "TQ2_0", gguf=35, values=256, size=66, bits=2, block=32, zero=1, shift=0, unpack=_tq2_0, scale_at=64,
    spread=1.2, digest_place=14,
)  # fmt: skip
