"""The product of block weights and activations of wide codes, exact in int64 (docs/numerics.md, section 4).

Within a block nothing is rounded; of a weight's scale times a block's the lowest six bits are, which are 0 where the
block's scale is 64 or more. For 32,768 inputs of 229,376 and weights of 255 the sum stays below 2^62; where a weight's
values have more than 8 bits, as many more bits of the scales are rounded off.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from intact.numerics.activations import BLOCK, Quantized
from intact.numerics.fixed import rshift, shift
from intact.numerics.matmul import LARGEST, add_minima
from intact.numerics.weights import BlockWeight

DROP: Final = 6
"""Bits of a product of scales that are rounded off, for values of up to 8 bits."""


def dropped(values: NDArray[np.int64]) -> int:
    """Return how many bits of products of scales are rounded off, for a weight of such values."""
    return DROP + max(0, int(np.abs(values).max()).bit_length() - 8)


def exact_product(a: Quantized, w: BlockWeight, fraction: int) -> np.ndarray:
    """Rows times weights, as `intact.numerics.matmul.matmul` returns them, from int32 codes."""
    table = np.arange(1 << w.bits) if w.table is None else w.table
    values = np.asarray(table, np.int64) - w.zero
    centred, drop = values.astype(np.float64)[w.codes], dropped(values)
    total = np.zeros((len(a.codes), len(w.codes)), np.int64)
    for k in range(0, centred.shape[1], w.block):
        codes = a.codes[:, k : k + w.block].astype(np.float64)
        acc = (codes @ centred[:, k : k + w.block].T).astype(np.int64)  # below 2^38, so exact
        c = w.scale[:, k // w.block].astype(np.int64) * a.scale[:, k // BLOCK, None].astype(np.int64)
        total += acc * rshift(c, drop)
    left = drop + fraction + w.scale_exp[None, :].astype(np.int64) + a.exponent[:, None]
    return np.asarray(np.clip(add_minima(shift(total, -left), a, w, fraction), -LARGEST, LARGEST))
