"""The interface through which operations run in float32 and pass gradients back, for training (`intact.train`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from intact.models.aspects.tables import Tables
from intact.numerics.fp32 import Floats

LOGITS: Final = "logits"
"""Name under which a pass holds the logits, which no program's buffer has."""


class FloatPass(Protocol):
    """One sequence's rows on their way through a part of a program and back, all float32.

    Operations run forwards in order, each keeping what its derivative needs, and then backwards in reverse order.

    Attributes
    ----------
    rows : dict
        Rows of each buffer, (positions, width).
    tokens : int32 (positions,)
    angles : list
        Cosines and sines of each rotation, (positions, frequencies).
    adapter : int
        Number of the adapter applied to the rows; -1 for none.
    last : bool
        If true, no later operation reads the buffers that this one adds to, so their new rows may be left out.
    """

    rows: dict[str, Floats]
    tokens: NDArray[np.int32]
    angles: Sequence[tuple[Floats, Floats]]
    adapter: int
    last: bool

    @property
    def tables(self) -> Tables:
        """Tables of the program."""

    def vector(self, name: str) -> Floats:
        """Return a vector by name."""

    def embedding(self, name: str, rows: NDArray[np.int32]) -> Floats:
        """Return rows of a matrix."""

    def product(self, x: Floats, name: str) -> Floats:
        """Return the rows times a matrix, x W^T."""

    def back(self, gradient: Floats, name: str) -> Floats:
        """Return the gradient of a product's input, g W."""

    def dot(self, x: Floats, y: Floats) -> Floats:
        """Return x y^T for arrays (M, K) and (N, K)."""

    def exp(self, x: Floats) -> Floats:
        """Return the exponential of each element (`intact.numerics.fp32.exp`)."""

    def sigmoid(self, x: Floats) -> Floats:
        """Return the logistic function of each element (`intact.numerics.fp32.sigmoid`)."""

    def keep(self, *values: Floats) -> None:
        """Keep arrays for the derivative of the operation that is running."""

    def kept(self) -> tuple[Floats, ...]:
        """Return the arrays that the operation kept."""

    def take(self, buffer: str) -> Floats:
        """Return the gradient of a buffer that the operation overwrites, and forget it."""

    def gradient(self, buffer: str) -> Floats:
        """Return the gradient of a buffer that the operation adds to."""

    def add(self, buffer: str, gradient: Floats) -> None:
        """Add to the gradient of a buffer that the operation reads."""

    def learns(self, name: str | None) -> bool:
        """Return true if a tensor is trained."""

    def learn(self, name: str, gradient: Floats) -> None:
        """Add the sequence's gradient of a tensor."""

    def learn_product(self, name: str, gradient: Floats, x: Floats) -> None:
        """Add the gradient g^T x of a matrix by which rows were multiplied, if it is trained."""

    def learn_sum(self, name: str | None, gradient: Floats) -> None:
        """Add the sum of rows (positions, n) as the gradient of a vector, if it is trained."""

    def learn_rows(self, name: str, rows: NDArray[np.int32], gradient: Floats) -> None:
        """Add gradients of single rows of a matrix, if it is trained."""
