"""Lion (Chen et al., arXiv 2302.06675): every element moves by exactly the rate, or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from intact.numerics.fp32 import Floats
from intact.train.arithmetic.products import Products
from intact.train.pieces import Optimiser, OptimiserSlot
from intact.train.rationals import rational, rounded, share

_ONE = np.float32(1.0)


@dataclass(frozen=True)
class Lion(Optimiser):
    """w (1 - rate decay) - rate sign(b1 m + (1 - b1) g), then m = b2 m + (1 - b2) g.

    Parameters
    ----------
    beta1, beta2 : str
        Weight of the moment in the step, and its decay per step.
    decay : str
        Weight decay.
    """

    name: ClassVar[str] = "lion"
    summary: ClassVar[str] = "Signs of a moment; one moment of state"
    moments: ClassVar[tuple[str, ...]] = ("m",)

    beta1: str = "9/10"
    beta2: str = "99/100"
    decay: str = "0"

    def __post_init__(self) -> None:
        share("beta1", self.beta1)
        share("beta2", self.beta2)
        share("decay", self.decay)

    def move(self, state: OptimiserSlot, gradient: Floats, rate: np.float32, products: Products) -> OptimiserSlot:
        """Return the tensor and its moment after a step."""
        b1, b2 = (rounded(rational("beta", b)) for b in (self.beta1, self.beta2))
        (m,) = state.moments
        w = state.tensor * (_ONE - rate * rounded(rational("decay", self.decay)))
        moved: Floats = w - rate * np.sign(b1 * m + (_ONE - b1) * gradient).astype(np.float32, copy=False)
        moment: Floats = b2 * m + (_ONE - b2) * gradient
        return OptimiserSlot(moved, (moment,), state.step)

    def bound(self, step: int) -> float | None:
        """Return 1; None with weight decay."""
        return None if rational("decay", self.decay) else 1.0
