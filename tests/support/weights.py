"""Random integer weights."""

import numpy as np

from intact.numerics.integers import entries_of, shift_of
from intact.numerics.weights import BlockWeight


def random_weight(
    seed: int, layout: tuple[int, int], shape: tuple[int, int], *, table: int = 0, minimum: bool = False
) -> BlockWeight:
    """A weight of `layout` bits and block with codes, scales and exponents of all sizes; a table up to `table`."""
    draw = np.random.default_rng(seed)
    (bits, block), (rows, columns) = layout, shape
    padded = -(-columns // 32) * 32
    zero = table // 2 if table else 1 << (bits - 1)
    entries = np.sort(draw.integers(0, table + 1, entries_of(bits))).astype(np.int16) if table else None
    if entries is not None:
        entries[3] = zero
    codes = draw.integers(0, 1 << bits, (rows, padded)).astype(np.uint8)
    codes[:, columns:] = 3 if table else zero

    def scales() -> tuple[np.ndarray, np.ndarray]:
        return (
            draw.integers(-32767, 32768, (rows, padded // block)).astype(np.int16),
            draw.integers(-24, -14, rows).astype(np.int32),
        )

    scale, exponent = scales()
    low, low_exponent = scales() if minimum else (None, None)
    shift = shift_of(bits, zero, entries)
    return BlockWeight(codes, bits, block, zero, shift, entries, scale, exponent, low, low_exponent, columns)
