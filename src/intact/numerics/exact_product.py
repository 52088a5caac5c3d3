"""The exact product, in int64, of block weights and activations whose codes do not fit a byte (docs/numerics.md).

Within a block nothing is rounded; of a weight's scale times a block's the lowest six bits are, which are 0 where the
block's scale is 64 or more. For 32,768 inputs of 229,376 and weights of 255 the sum stays below 2^62.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from intact.numerics.activations import BLOCK, Quantized
from intact.numerics.fixed import rshift, shift
from intact.numerics.matmul import LARGEST, add_minima
from intact.numerics.weights import BlockWeight

DROP: Final = 6
"""Bits of a product of scales that are rounded off."""


def exact_product(a: Quantized, w: BlockWeight, fraction: int) -> np.ndarray:
    """Rows times weights, as `intact.numerics.matmul.matmul` returns them, from int32 codes."""
    table = np.arange(1 << w.bits) if w.table is None else w.table
    centred = (np.asarray(table, np.float64) - w.zero)[w.codes]
    total = np.zeros((len(a.codes), len(w.codes)), np.int64)
    for k in range(0, centred.shape[1], w.block):
        codes = a.codes[:, k : k + w.block].astype(np.float64)
        acc = (codes @ centred[:, k : k + w.block].T).astype(np.int64)  # below 2^31, so exact
        c = w.scale[:, k // w.block].astype(np.int64) * a.scale[:, k // BLOCK, None].astype(np.int64)
        total += acc * rshift(c, DROP)
    left = DROP + fraction + w.scale_exp[None, :].astype(np.int64) + a.exponent[:, None]
    return np.clip(add_minima(shift(total, -left), a, w, fraction), -LARGEST, LARGEST)
