"""A rate that falls along half a cosine (SGDR, arXiv 1608.03983), from the engine's integer cosine."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np

from intact.numerics.rope import sine_cosine
from intact.train.schedules.constant import Constant


@dataclass(frozen=True)
class Cosine(Constant):
    """(1 + cos(pi (step - 1) / steps)) / 2 after the warm-up, with a cosine of 30 fraction bits."""

    name: ClassVar[str] = "cosine"
    summary: ClassVar[str] = "Cosine decay after a linear warm-up"

    def decay(self, step: int, steps: int) -> Fraction:
        """Return the factor; it is 1 in the first step and stays above 0."""
        turn = np.array([((step - 1) << 63) // steps], np.uint64)
        cosine = int(sine_cosine(np.ones(1, np.int64), turn)[1][0, 0])
        return Fraction((1 << 30) + cosine, 1 << 31)
