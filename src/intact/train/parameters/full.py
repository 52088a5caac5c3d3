"""All matrices, gains and biases of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from intact.models.ops import Attend, Embed, Linear, Logits, Norm
from intact.models.program import Program
from intact.numerics.dequantize import dequantize
from intact.numerics.fp32 import Floats
from intact.train.arithmetic.passes import Learned
from intact.train.arithmetic.weights import float_tensor
from intact.train.pieces import Parameters


@dataclass(frozen=True)
class Full(Parameters):
    """The model's own tensors, from their values in the checkpoint; the served codes are made anew in every step.

    Parameters
    ----------
    vectors : bool
        If true, gains of norms and biases are trained too.
    """

    name: ClassVar[str] = "full"
    summary: ClassVar[str] = "Every matrix of the model, for small models"
    keeps_base: ClassVar[bool] = False

    vectors: bool = True

    def start(self, program: Program, seed: int) -> dict[str, Floats]:
        """Return the tensors' values."""
        names: list[str] = []
        for op in program.ops:
            names += op.matrices()
            if self.vectors:
                names += _vectors(op)
        tensors = {name: program.tensors[name] for name in dict.fromkeys(names)}
        return {
            name: np.ascontiguousarray(dequantize(t.kind, t.data, t.shape), np.float32) for name, t in tensors.items()
        }

    def place(self, program: Program, tensors: Mapping[str, Floats]) -> Program:
        """Return the program with the trained values, as float32 tensors."""
        changed = {name: float_tensor(name, values) for name, values in tensors.items()}
        return replace(program, tensors={**program.tensors, **changed})

    def learned(self, program: Program, tensors: Mapping[str, Floats]) -> dict[str, Learned]:
        """Map each tensor to itself."""
        return {name: Learned(name) for name in tensors}


def _vectors(op: object) -> list[str]:
    if isinstance(op, Norm):
        return [op.gain] if op.bias is None else [op.gain, op.bias]
    if isinstance(op, Linear):
        return [target.bias for target in op.targets if target.bias is not None]
    if isinstance(op, Embed | Logits | Attend):
        return []
    return []
