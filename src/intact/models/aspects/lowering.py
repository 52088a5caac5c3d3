"""The interface by which operations become native operations."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from intact.models.aspects.tables import Tables
from intact.numerics.norm import Gain
from intact.numerics.profiles import ProfileParts


class Lowering(Protocol):
    """A native model under construction. Numbers of things are indices into its lists; -1 is none."""

    @property
    def tables(self) -> Tables:
        """The program's tables."""

    @property
    def profile(self) -> ProfileParts:
        """The profile that the model runs in."""

    def outliers(self, buffer: str) -> int:
        """Return the blocks of outliers at the end of the rows of a buffer (profile llm_int8)."""

    def buffer(self, name: str | None) -> int:
        """Return the number of a buffer."""

    def weight(self, name: str | None) -> int:
        """Add a matrix, unless the model has it; return its number."""

    def embedding(self, name: str) -> int:
        """Add a matrix whose rows are embedded, and check its scales."""

    def gain(self, gain: Gain, values: NDArray[np.float32], epsilon: float) -> int:
        """Add the gain of a norm."""

    def numbers(self, integers: NDArray[np.int64], floats: NDArray[np.float32]) -> int:
        """Add a vector, as integers and as float32."""

    def bias(self, name: str | None, fraction: int) -> int:
        """Add the values of a tensor with so many fraction bits."""

    def target(self, buffer: str, weight: str | None, bias: int = -1, accumulate: bool = False) -> Any:
        """Return one matrix of a product, and the buffer of its result."""
