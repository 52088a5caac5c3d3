"""The interface through which operations become native operations."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from intact.models.aspects.tables import Tables
from intact.numerics.norm import Gain
from intact.numerics.profiles import ProfileParts


class Lowering(Protocol):
    """A native model under construction. Items are numbered by their index in its lists; -1 means none."""

    @property
    def tables(self) -> Tables:
        """Tables of the program."""

    @property
    def profile(self) -> ProfileParts:
        """Profile in which the model runs."""

    def outliers(self, buffer: str) -> int:
        """Return the number of outlier blocks at the end of a buffer's rows (profile llm_int8)."""

    def buffer(self, name: str | None) -> int:
        """Return the number of a buffer."""

    def weight(self, name: str | None) -> int:
        """Add a matrix unless the model already has it; return its number."""

    def embedding(self, name: str) -> int:
        """Add an embedding matrix, and check its scales."""

    def gain(self, gain: Gain, values: NDArray[np.float32], epsilon: float) -> int:
        """Add a norm's gain."""

    def numbers(self, integers: NDArray[np.int64], floats: NDArray[np.float32]) -> int:
        """Add a vector, as integers and as float32."""

    def bias(self, name: str | None, fraction: int) -> int:
        """Add a tensor's values with this many fraction bits."""

    def target(self, buffer: str, weight: str | None, bias: int = -1, accumulate: bool = False) -> Any:
        """Return one matrix of a product together with its result buffer."""
