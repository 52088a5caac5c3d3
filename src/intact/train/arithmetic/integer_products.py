"""Products of rows with a model's own matrices in 8 bits: the gradient profile ``int8``.

A row is scaled by a power of two to at most 24 bits, rounded half to even, quantised as rows of the int8 profile are,
and multiplied by the matrix's integer codes (docs/spec/numerics.md, sections 3 and 4); the result is scaled back. A
product with the transposed matrix uses codes of 8 bits of its float values, and is cut where a row has more inputs than
the kernels take.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact import _native
from intact.checkpoints.formats import Tensor
from intact.executors.packing import pack_tensor
from intact.models.aspects.parameters import integer_weight
from intact.numerics.activations import quantize
from intact.numerics.fp32 import Floats
from intact.numerics.matmul import matmul
from intact.numerics.weights import BlockWeight
from intact.train.arithmetic.products import DEFINITION, padded

MOST_INPUTS: Final = 16384
"""Inputs of a row that are multiplied at once; sums of several parts are exact."""
_BITS: Final = 24
_MOST_SHIFT: Final = 96
_FRACTION: Final = 20
_BLOCK: Final = 32
_PANEL: Final = 16


class IntegerMatrix(NamedTuple):
    """A matrix as integer codes, cut along its inputs."""

    parts: tuple[_native.Weight | BlockWeight, ...]
    outputs: int


class IntegerProducts:
    """Products with the kernels of a tier; every tier gives the same bits.

    Parameters
    ----------
    tier : str, optional
        A tier of the int8 profile, or "numpy" for the definition; by default the best.
    bits : {8, 4}
        Number of bits per code for matrices that the checkpoint stores as floats.
    """

    def __init__(self, tier: str | None, bits: int) -> None:
        self.tier, self._bits = tier or _native.kernels.tiers()[0], bits

    def stored(self, tensor: Tensor) -> IntegerMatrix:
        """Return a matrix with the codes that the engine uses."""
        if self.tier == DEFINITION:
            return IntegerMatrix((integer_weight(tensor, self._bits),), tensor.shape[0])
        return IntegerMatrix((pack_tensor(tensor, self._bits, 1),), tensor.shape[0])

    def converted(self, values: Floats) -> IntegerMatrix:
        """Return a float matrix (N, K) with codes of 8 bits."""
        values = padded(values, -values.shape[1] % _BLOCK)
        parts: list[_native.Weight | BlockWeight] = []
        for at in range(0, values.shape[1], MOST_INPUTS):
            part = np.ascontiguousarray(values[:, at : at + MOST_INPUTS], "<f4")
            tensor = Tensor("transposed", "F32", part.shape, part.view(np.uint8).reshape(-1))
            parts.append(integer_weight(tensor, 8) if self.tier == DEFINITION else pack_tensor(tensor, 8, 1))
        return IntegerMatrix(tuple(parts), len(values))

    def dot(self, x: Floats, matrix: IntegerMatrix) -> Floats:
        """Return x W^T for rows x (M, K), float32 (M, N)."""
        if missing := -x.shape[1] % _BLOCK:
            x = padded(x, missing)
        size = np.abs(x).max(axis=1)
        up = np.where(size > 0, np.minimum(_BITS - np.frexp(size)[1], _MOST_SHIFT), 0).astype(np.int32)[:, None]
        integers = np.rint(x * np.ldexp(np.float32(1), up)).astype(np.int64)
        total = np.zeros((len(x), -(-matrix.outputs // _PANEL) * _PANEL), np.int64)
        for number, part in enumerate(matrix.parts):
            self._add(total, integers[:, number * MOST_INPUTS : (number + 1) * MOST_INPUTS], part)
        return total[:, : matrix.outputs].astype(np.float32) * np.ldexp(np.float32(1), -up)

    def _add(self, total: NDArray[np.int64], rows: NDArray[np.int64], part: _native.Weight | BlockWeight) -> None:
        """Add the products with a part of a matrix, 20 fraction bits."""
        if isinstance(part, BlockWeight):
            product = matmul(quantize(rows, _FRACTION), part, _FRACTION)
            total[:, : product.shape[1]] += product
            return
        codes = _native.kernels.quantize_wide(self.tier, np.ascontiguousarray(rows), _FRACTION)
        _native.kernels.matmul_wide(self.tier, part, codes, total, _FRACTION, True)
