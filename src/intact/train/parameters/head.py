"""A classifier in place of the vocabulary's head, on the last token's normed row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar, Final

from intact.models.ops import Logits
from intact.models.program import Program
from intact.numerics.fp32 import Floats
from intact.train.arithmetic.passes import Learned
from intact.train.arithmetic.weights import float_tensor
from intact.train.draws import fan_in_bound, uniform
from intact.train.pieces import Parameters, positive

WEIGHT: Final = "head.weight"


@dataclass(frozen=True)
class Head(Parameters):
    """A matrix with a row per class; the model below it stays as it is.

    Parameters
    ----------
    classes : int
    """

    name: ClassVar[str] = "head"
    summary: ClassVar[str] = "A classifier on the last token's hidden row"

    classes: int = 2

    def __post_init__(self) -> None:
        positive("classes", self.classes, 2, 1 << 16)

    def start(self, program: Program, seed: int) -> dict[str, Floats]:
        """Return the matrix, (classes, width)."""
        source = next(op.source for op in program.ops if isinstance(op, Logits))
        width = program.buffers[source].width
        return {WEIGHT: uniform(seed, WEIGHT, (self.classes, width), fan_in_bound(width))}

    def place(self, program: Program, tensors: Mapping[str, Floats]) -> Program:
        """Return the program with this head, whose logits are those of the classes."""
        ops = [replace(op, weight=WEIGHT, cap=Fraction(0)) if isinstance(op, Logits) else op for op in program.ops]
        own = {WEIGHT: float_tensor(WEIGHT, tensors[WEIGHT])}
        return replace(program, ops=tuple(ops), tensors={**program.tensors, **own}, vocabulary=self.classes)

    def learned(self, program: Program, tensors: Mapping[str, Floats]) -> dict[str, Learned]:
        """Map the matrix to itself."""
        return {WEIGHT: Learned(WEIGHT)}
