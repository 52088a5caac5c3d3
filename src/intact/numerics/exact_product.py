"""The product of block weights and activations of wide codes, exact in integers (docs/numerics.md, section 4).

Within a block nothing is rounded; of a weight's scale times a block's the lowest six bits are, which are 0 where the
block's scale is 64 or more; where a weight's values have more than 8 bits, as many more bits of the scales are. A sum
over 32,768 inputs stays below 2^62 for codes of 18 bits and below 2^76 for those of 32: it has two limbs.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from intact.numerics.activations import BLOCK, Quantized
from intact.numerics.fixed import rshift, shift
from intact.numerics.matmul import LARGEST, add_minima
from intact.numerics.weights import BlockWeight

LIMB: Final = 16
"""Bits of the low limb of a sum."""
DROP: Final = 6
"""Bits of a product of scales that are rounded off, for values of up to 8 bits."""


def dropped(values: NDArray[np.int64]) -> int:
    """Return how many bits of products of scales are rounded off, for a weight of such values."""
    return DROP + max(0, int(np.abs(values).max()).bit_length() - 8)


def exact_product(a: Quantized, w: BlockWeight, fraction: int) -> np.ndarray:
    """Rows times weights, as `intact.numerics.matmul.matmul` returns them, from wide codes."""
    table = np.arange(1 << w.bits) if w.table is None else w.table
    values = np.asarray(table, np.int64) - w.zero
    centred, drop = values.astype(np.float64)[w.codes], dropped(values)
    high, low = np.zeros((2, len(a.codes), len(w.codes)), np.int64)
    for k in range(0, centred.shape[1], w.block):
        codes = a.codes[:, k : k + w.block].astype(np.float64)
        acc = (codes @ centred[:, k : k + w.block].T).astype(np.int64)  # at most 2^52, so exact
        c = w.scale[:, k // w.block].astype(np.int64) * a.scale[:, k // BLOCK, None].astype(np.int64)
        c = rshift(c, drop)
        high += (acc >> LIMB) * c
        low += (acc & (1 << LIMB) - 1) * c
    left = drop + fraction + w.scale_exp[None, :].astype(np.int64) + a.exponent[:, None]
    return np.asarray(np.clip(add_minima(shift_limbs(high, low, -left), a, w, fraction), -LARGEST, LARGEST))


def shift_limbs(high: NDArray[np.int64], low: NDArray[np.int64], s: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return `shift` of high * 2^16 + low, a number that is clipped to +-2^62 where it is shifted by less than 17 bits.

    Parameters
    ----------
    high, low : int64, |high| and |low| < 2^61
    s : int64
        The bits that are shifted off, or below 0 added.
    """
    high, rest = high + (low >> LIMB), low & (1 << LIMB) - 1
    few = np.clip(np.clip(high, -(1 << 46) - 1, 1 << 46) * (1 << LIMB) + rest, -(1 << 62), 1 << 62)
    return np.where(s > LIMB, rshift(high, np.maximum(s - LIMB, 0)), shift(few, s))
