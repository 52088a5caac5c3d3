"""A program's tensors as the derivative needs them: matrices as stored, and transposed as float32."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from intact.checkpoints.formats import Tensor
from intact.models.aspects.parameters import bias_values
from intact.models.program import Program
from intact.numerics.dequantize import dequantize
from intact.numerics.fp32 import Floats
from intact.train.arithmetic.integer_products import IntegerMatrix, IntegerProducts
from intact.train.arithmetic.products import Products


class FloatWeights:
    """Tensors of a program in float32; what does not change between steps is converted only once.

    Parameters
    ----------
    changing : set of str
        Names of tensors that are trained, or derived from trained ones; they are converted in every step.
    integer : IntegerProducts, optional
        Multiplies rows by matrices that do not change (the gradient profile ``int8``).
    """

    def __init__(
        self,
        program: Program,
        products: Products,
        changing: frozenset[str] = frozenset(),
        integer: IntegerProducts | None = None,
    ) -> None:
        self.program, self.products = program, products
        self._integer = integer
        self._codes: dict[tuple[str, bool], IntegerMatrix] = {}
        self._changing = changing
        self._transposed: dict[str, Floats] = {}
        self._vectors: dict[str, Floats] = {}

    def update(self, program: Program) -> None:
        """Continue with a program whose changing tensors have new values."""
        self.program = program
        for name in self._changing:
            self._transposed.pop(name, None)
            self._vectors.pop(name, None)

    def vector(self, name: str) -> Floats:
        """Return a vector."""
        if name not in self._vectors:
            self._vectors[name] = bias_values(self.program, name).astype(np.float32)
        return self._vectors[name]

    def product(self, x: Floats, name: str) -> Floats:
        """Return x W^T."""
        if self._integer is not None and name not in self._changing:
            if (name, False) not in self._codes:
                self._codes[name, False] = self._integer.stored(self.program.tensors[name])
            return self._integer.dot(x, self._codes[name, False])
        return self.products.stored(x, self.program.tensors[name])

    def back(self, gradient: Floats, name: str) -> Floats:
        """Return g W, as the product with the transposed matrix."""
        if self._integer is not None and name not in self._changing:
            if (name, True) not in self._codes:
                self._codes[name, True] = self._integer.converted(self.matrix(name).T)
            return self._integer.dot(gradient, self._codes[name, True])
        if name not in self._transposed:
            self._transposed[name] = np.ascontiguousarray(self.matrix(name).T)
        return self.products.dot(gradient, self._transposed[name])

    def matrix(self, name: str) -> Floats:
        """Return a whole matrix."""
        tensor = self.program.tensors[name]
        return np.ascontiguousarray(dequantize(tensor.kind, tensor.data, tensor.shape), np.float32)

    def rows(self, name: str, rows: NDArray[np.int32]) -> Floats:
        """Return rows of a matrix."""
        tensor = self.program.tensors[name]
        size = len(tensor.data) // tensor.shape[0]
        data = np.ascontiguousarray(tensor.data.reshape(tensor.shape[0], size)[rows]).reshape(-1)
        return dequantize(tensor.kind, data, (len(rows), tensor.shape[1])).astype(np.float32)


def float_tensor(name: str, values: Floats) -> Tensor:
    """Return a float32 tensor of a program."""
    data = np.ascontiguousarray(values, "<f4").reshape(-1).view(np.uint8)
    return Tensor(name, "F32", values.shape, data)
