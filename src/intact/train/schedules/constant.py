"""A constant rate after a linear warm-up."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from intact.train.pieces import Schedule, positive


@dataclass(frozen=True)
class Constant(Schedule):
    """The factor is step / warmup during the warm-up, then 1.

    Parameters
    ----------
    warmup : int
        Number of steps of the warm-up.
    """

    name: ClassVar[str] = "constant"
    summary: ClassVar[str] = "Constant after a linear warm-up"

    warmup: int = 0

    def __post_init__(self) -> None:
        positive("warmup", self.warmup, 0)

    def factor(self, step: int, steps: int) -> Fraction:
        """Return the warm-up's factor times that of `decay`."""
        if step <= self.warmup:
            return Fraction(step, self.warmup)
        return self.decay(step - self.warmup, max(1, steps - self.warmup))

    def decay(self, step: int, steps: int) -> Fraction:
        """Return the factor after the warm-up, in step `step` of `steps`."""
        return Fraction(1)
