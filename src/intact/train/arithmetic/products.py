"""Products of float32 matrices in the fixed order of the fp32 profile (docs/spec/numerics_fp32.md, section 2)."""

from __future__ import annotations

from typing import Final

import numpy as np

from intact import _native
from intact._base.errors import ParameterError
from intact.checkpoints.formats import Tensor
from intact.numerics import fp32
from intact.numerics.dequantize import dequantize
from intact.numerics.fp32 import Floats
from intact.numerics.integers import INTEGER

DEFINITION: Final = "numpy"
"""Name under which the definition in NumPy can be chosen as a tier."""
_WIDTH: Final = 32


def tiers() -> list[str]:
    """Return the names of tiers, best first; the last is the definition in NumPy."""
    return [*_native.fp32.tiers(), DEFINITION]


class Products:
    """Products with the kernels of a tier; every tier gives the same bits.

    Parameters
    ----------
    tier : str, optional
        One of `tiers`; by default the best.

    Raises
    ------
    ParameterError
        If this machine has no such tier.
    """

    def __init__(self, tier: str | None = None) -> None:
        known = tiers()
        if tier is not None and tier not in known:
            raise ParameterError(f"the tier of training must be one of {', '.join(known)}, got {tier!r:.40}")
        self.tier = tier or known[0]

    def dot(self, x: Floats, y: Floats) -> Floats:
        """Return x y^T for x (M, K) and y (N, K)."""
        x, y = np.ascontiguousarray(x, np.float32), np.ascontiguousarray(y, np.float32)
        if self.tier == DEFINITION:
            return fp32.linear(x, y)
        if missing := -x.shape[1] % _WIDTH:  # terms of +0 leave a lane's sum unchanged
            x, y = padded(x, missing), padded(y, missing)
        return _native.fp32.linear(self.tier, "F32", y.view(np.uint8).reshape(-1), len(y), x)

    def stored(self, x: Floats, tensor: Tensor) -> Floats:
        """Return x W^T for a matrix in the form in which its checkpoint stores it."""
        if self.tier == DEFINITION or tensor.kind == INTEGER or tensor.shape[1] % _WIDTH:
            return self.dot(x, dequantize(tensor.kind, tensor.data, tensor.shape))
        return _native.fp32.linear(self.tier, tensor.kind, tensor.data, tensor.shape[0], np.ascontiguousarray(x))

    def exp(self, x: Floats) -> Floats:
        """Return the exponential of each element."""
        if self.tier == DEFINITION:
            return fp32.exp(x)
        return _native.fp32.exp(self.tier, np.ascontiguousarray(x).reshape(-1)).reshape(x.shape)

    def sigmoid(self, x: Floats) -> Floats:
        """Return the logistic function of each element."""
        if self.tier == DEFINITION:
            return fp32.sigmoid(x)
        return _native.fp32.sigmoid(self.tier, np.ascontiguousarray(x).reshape(-1)).reshape(x.shape)

    def softmax(self, rows: Floats) -> Floats:
        """Return the softmax of each row."""
        if self.tier == DEFINITION:
            return fp32.softmax(rows)
        return np.stack([_native.fp32.softmax(self.tier, np.ascontiguousarray(row)) for row in rows])


def padded(x: Floats, missing: int) -> Floats:
    """Return rows with zeros after them."""
    wide = np.zeros((len(x), x.shape[1] + missing), np.float32)
    wide[:, : x.shape[1]] = x
    return wide
