"""Steering vectors: one vector per layer, added to the residual stream after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from intact._base.errors import ParameterError
from intact.models.adapters import STREAM, Adapter, layer_ends, with_adapters
from intact.models.ops import Steer
from intact.models.program import Program
from intact.numerics.fp32 import Floats
from intact.train.arithmetic.passes import Learned
from intact.train.pieces import Parameters, positive


@dataclass(frozen=True)
class Vector(Parameters):
    """Vectors added after chosen layers, from 0.

    Parameters
    ----------
    first, stop : int
        The layers from `first` to `stop` - 1; a stop of 0 means all.
    """

    name: ClassVar[str] = "vector"
    summary: ClassVar[str] = "A steering vector after each chosen layer"
    adapter: ClassVar[int] = 0

    first: int = 0
    stop: int = 0

    def __post_init__(self) -> None:
        positive("first", self.first, 0, 1 << 16)
        positive("stop", self.stop, 0, 1 << 16)

    def start(self, program: Program, seed: int) -> dict[str, Floats]:
        """Return zeros for each layer."""
        layers = len(layer_ends(program))
        stop = self.stop or layers
        if not self.first < stop <= layers:
            raise ParameterError(f"first and stop must satisfy first < stop <= {layers}, got {self.first} and {stop}")
        width = program.buffers[STREAM].width
        return {f"blk.{layer}.direction": np.zeros(width, np.float32) for layer in range(self.first, stop)}

    def as_adapter(self, tensors: Mapping[str, Floats], path: Path = Path("trained")) -> Adapter:
        """Return the vectors in the form in which the engine serves them."""
        return Adapter(path, {}, {int(name.split(".")[1]): values for name, values in tensors.items()})

    def place(self, program: Program, tensors: Mapping[str, Floats]) -> Program:
        """Return the program with the vectors."""
        return with_adapters(program, {"trained": self.as_adapter(tensors)})

    def learned(self, program: Program, tensors: Mapping[str, Floats]) -> dict[str, Learned]:
        """Map the program's vectors to their masters."""
        names = [op.vectors[self.adapter] for op in program.ops if isinstance(op, Steer)]
        return {name: Learned(name.removesuffix(".0")) for name in names if name is not None}
