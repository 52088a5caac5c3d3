"""Gradient descent with heavy-ball momentum (Polyak 1964)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from intact.numerics.fp32 import Floats
from intact.train.arithmetic.products import Products
from intact.train.pieces import Optimiser, OptimiserSlot
from intact.train.rationals import rational, rounded, share


@dataclass(frozen=True)
class Momentum(Optimiser):
    """m = beta m + g, then w - rate m.

    Parameters
    ----------
    beta : str
        Decay of the moment per step; 0 for plain gradient descent.
    """

    name: ClassVar[str] = "momentum"
    summary: ClassVar[str] = "Gradient descent with momentum"
    moments: ClassVar[tuple[str, ...]] = ("m",)

    beta: str = "9/10"

    def __post_init__(self) -> None:
        share("beta", self.beta)

    def move(self, state: OptimiserSlot, gradient: Floats, rate: np.float32, products: Products) -> OptimiserSlot:
        """Return the tensor and its moment after a step."""
        m = rounded(rational("beta", self.beta)) * state.moments[0] + gradient
        return OptimiserSlot(state.tensor - rate * m, (m,), state.step)

    def bound(self, step: int) -> float | None:
        """Return None: a step is as long as the gradients."""
        return None
