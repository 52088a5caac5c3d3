"""Warm-up, stable, decay: constant until the last part of the run, then linear to 0 (MiniCPM, arXiv 2404.06395)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from intact._base.errors import ParameterError
from intact.train.rationals import rational
from intact.train.schedules.constant import Constant


@dataclass(frozen=True)
class WarmupStableDecay(Constant):
    """1 until the share `decaying` of the steps is left, then linear to 1 / (number of decaying steps).

    Parameters
    ----------
    decaying : str
        Share of the steps after the warm-up in which the rate falls.
    """

    name: ClassVar[str] = "wsd"
    summary: ClassVar[str] = "Constant, with a linear decay at the end"

    decaying: str = "1/5"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < rational("decaying", self.decaying) <= 1:
            raise ParameterError(f"decaying must lie in (0, 1], got {self.decaying}")

    def decay(self, step: int, steps: int) -> Fraction:
        """Return 1, or the share of the decaying steps that are left."""
        last = -(-steps * Fraction(self.decaying).numerator // Fraction(self.decaying).denominator)
        return min(Fraction(1), Fraction(steps - step + 1, last))
