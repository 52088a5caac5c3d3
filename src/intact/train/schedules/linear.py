"""A rate that falls linearly to 0."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from intact.train.schedules.constant import Constant


@dataclass(frozen=True)
class LinearDecay(Constant):
    """1 in the first step after the warm-up, 1 / steps in the last."""

    name: ClassVar[str] = "linear"
    summary: ClassVar[str] = "Linear decay after a linear warm-up"

    def decay(self, step: int, steps: int) -> Fraction:
        """Return the share of steps that are left, this one included."""
        return Fraction(steps - step + 1, steps)
