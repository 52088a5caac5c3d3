"""A pass of one sequence through a layer in float32, and back (`intact.models.aspects.derivative`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact.models.adapters import STREAM
from intact.models.aspects.op import Op
from intact.models.ops import Adapt, Linear, Steer
from intact.models.program import Program
from intact.numerics import fp32
from intact.numerics.fp32 import Floats
from intact.numerics.rope import sine_cosine
from intact.train.arithmetic.sums import GradientSum
from intact.train.arithmetic.weights import FloatWeights


class Learned(NamedTuple):
    """The master tensor behind a tensor of the program, and the factor between them."""

    master: str
    factor: np.float32 = np.float32(1.0)


class LayerPass:
    """One sequence in float32; see `FloatPass` for the methods that operations call.

    Parameters
    ----------
    learned : mapping
        For each trained tensor of the program, its master.
    total : GradientSum
        Sum to which gradients are added.
    """

    def __init__(
        self,
        weights: FloatWeights,
        learned: Mapping[str, Learned],
        total: GradientSum,
        tokens: NDArray[np.int32],
        adapter: int = -1,
    ) -> None:
        self._weights, self._learned, self._total = weights, learned, total
        self.tokens, self.adapter = tokens, adapter
        self.last = False
        self.rows: dict[str, Floats] = {}
        self._gradients: dict[str, Floats] = {}
        self._kept: list[tuple[Floats, ...]] = []
        self.angles: Sequence[tuple[Floats, Floats]] = rotations(weights.program, len(tokens))

    @property
    def tables(self) -> Program:
        """The program."""
        return self._weights.program

    def forward(self, ops: Sequence[Op]) -> None:
        """Run operations; the rows that the last ones add to the stream are left out, since nothing reads them."""
        final = len(ops)
        while final and isinstance(ops[final - 1], Linear | Adapt | Steer) and ops[final - 1].writes() == {STREAM}:
            final -= 1
        for number, op in enumerate(ops):
            self.last = number >= final
            op.float_step(self)

    def backward(self, ops: Sequence[Op]) -> None:
        """Run the derivatives of the same operations in reverse order."""
        for op in reversed(ops):
            op.derivative(self)

    def vector(self, name: str) -> Floats:
        """Return a vector."""
        return self._weights.vector(name)

    def embedding(self, name: str, rows: NDArray[np.int32]) -> Floats:
        """Return rows of a matrix."""
        return self._weights.rows(name, rows)

    def product(self, x: Floats, name: str) -> Floats:
        """Return x W^T."""
        return self._weights.product(x, name)

    def back(self, gradient: Floats, name: str) -> Floats:
        """Return g W."""
        return self._weights.back(gradient, name)

    def dot(self, x: Floats, y: Floats) -> Floats:
        """Return x y^T."""
        return self._weights.products.dot(x, y)

    def exp(self, x: Floats) -> Floats:
        """Return exponentials."""
        return self._weights.products.exp(x)

    def sigmoid(self, x: Floats) -> Floats:
        """Return logistic functions."""
        return self._weights.products.sigmoid(x)

    def keep(self, *values: Floats) -> None:
        """Keep arrays for the derivative of the running operation."""
        self._kept.append(values)

    def kept(self) -> tuple[Floats, ...]:
        """Return the arrays that the operation kept."""
        return self._kept.pop()

    def take(self, buffer: str) -> Floats:
        """Return and forget the gradient of a buffer."""
        return self._gradients.pop(buffer)

    def gradient(self, buffer: str) -> Floats:
        """Return the gradient of a buffer."""
        return self._gradients[buffer]

    def add(self, buffer: str, gradient: Floats) -> None:
        """Add to the gradient of a buffer."""
        known = self._gradients.get(buffer)
        self._gradients[buffer] = gradient if known is None else known + gradient

    def learns(self, name: str | None) -> bool:
        """Return true if a tensor is trained."""
        return name in self._learned

    def learn(self, name: str, gradient: Floats) -> None:
        """Add the gradient of a tensor."""
        master, factor = self._learned[name]
        self._total.add(master, gradient if factor == 1 else gradient * factor)

    def learn_product(self, name: str, gradient: Floats, x: Floats) -> None:
        """Add g^T x to the gradient of a matrix, if it is trained."""
        if name in self._learned:
            self.learn(name, self.dot(np.ascontiguousarray(gradient.T), np.ascontiguousarray(x.T)))

    def learn_sum(self, name: str | None, gradient: Floats) -> None:
        """Add the sum of rows to the gradient of a vector, if it is trained."""
        if name is not None and name in self._learned:
            self.learn(name, fp32.lane_sum(np.ascontiguousarray(gradient.T)))

    def learn_rows(self, name: str, rows: NDArray[np.int32], gradient: Floats) -> None:
        """Add gradients of rows of a matrix, if it is trained."""
        if name in self._learned:
            master, factor = self._learned[name]
            self._total.add_rows(master, self.tables.tensors[name].shape, rows, gradient * factor)


def rotations(program: Program, count: int) -> list[tuple[Floats, Floats]]:
    """Return cosines and sines of each rotation for the first positions, from the engine's tables in Q30."""
    positions, found = np.arange(count, dtype=np.int64), []
    for turns, factor in zip(program.rotations, program.factors(), strict=True):
        sine, cosine = sine_cosine(positions, turns, factor)
        found.append((fp32.from_q30(cosine.astype(np.int32)), fp32.from_q30(sine.astype(np.int32))))
    return found
