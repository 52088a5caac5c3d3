"""The product of block weights and activations with wide codes, exact in integers (docs/spec/numerics.md, section 4).

Nothing is rounded within a block. The lowest six bits of the product of a weight scale and a block scale are rounded
off; they are 0 if the block's scale is 64 or more. For each bit beyond 8 in a weight's values, one more bit of the
scale product is rounded off. A sum over 32,768 inputs stays below 2^62 for 18-bit codes and below 2^76 for 32-bit
codes, so it has two limbs.
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
"""Number of bits in the low limb of a sum."""
DROP: Final = 6
"""Number of low bits of a scale product that are rounded off, for values of up to 8 bits."""


def dropped(values: NDArray[np.int64]) -> int:
    """Return the number of bits of a scale product that are rounded off for a weight with these values."""
    return DROP + max(0, int(np.abs(values).max()).bit_length() - 8)


def exact_product(a: Quantized, w: BlockWeight, fraction: int) -> np.ndarray:
    """Multiply rows with wide codes by weights; the result has the form of `intact.numerics.matmul.matmul`."""
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
    """Shift high * 2^16 + low as `shift` does; if s is below 17, the number is first clipped to +-2^62.

    Parameters
    ----------
    high, low : int64, |high| and |low| < 2^61
    s : int64
        Bits to shift right; left if negative.
    """
    high, rest = high + (low >> LIMB), low & (1 << LIMB) - 1
    few = np.clip(np.clip(high, -(1 << 46) - 1, 1 << 46) * (1 << LIMB) + rest, -(1 << 62), 1 << 62)
    return np.where(s > LIMB, rshift(high, np.maximum(s - LIMB, 0)), shift(few, s))
