"""AdamW (Loshchilov and Hutter, arXiv 1711.05101) in binary32, one rounding per operation."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

import numpy as np

from intact.numerics.fp32 import Floats
from intact.train.arithmetic.products import Products
from intact.train.pieces import Optimiser, OptimiserSlot
from intact.train.rationals import rational, rounded, share

_ONE = np.float32(1.0)


@dataclass(frozen=True)
class AdamW(Optimiser):
    """w (1 - rate decay) - rate m' / (sqrt(v') + epsilon), with bias-corrected moments m' and v'.

    Parameters
    ----------
    beta1, beta2 : str
        Decay of the moments per step.
    epsilon : str
    decay : str
        Weight decay.
    """

    name: ClassVar[str] = "adamw"
    summary: ClassVar[str] = "Adam with decoupled weight decay"
    moments: ClassVar[tuple[str, ...]] = ("m", "v")

    beta1: str = "9/10"
    beta2: str = "999/1000"
    epsilon: str = "1e-8"
    decay: str = "0"

    def __post_init__(self) -> None:
        share("beta1", self.beta1)
        share("beta2", self.beta2)
        rational("epsilon", self.epsilon)
        share("decay", self.decay)

    def move(self, state: OptimiserSlot, gradient: Floats, rate: np.float32, products: Products) -> OptimiserSlot:
        """Return the tensor and its moments after a step."""
        b1, b2 = (rounded(rational("beta", b)) for b in (self.beta1, self.beta2))
        m = b1 * state.moments[0] + (_ONE - b1) * gradient
        v = b2 * state.moments[1] + (_ONE - b2) * (gradient * gradient)
        corrected = m / np.float32(1.0 - power(self.beta1, state.step))
        root = np.sqrt(v / np.float32(1.0 - power(self.beta2, state.step)))
        w = state.tensor * (_ONE - rate * rounded(rational("decay", self.decay)))
        epsilon = rounded(rational("epsilon", self.epsilon))
        moved = (w - rate * (corrected / (root + epsilon))).astype(np.float32, copy=False)
        return OptimiserSlot(moved, (m, v), state.step)

    def bound(self, step: int) -> float | None:
        """Return the largest change of an element by the Cauchy-Schwarz inequality; None with weight decay."""
        if rational("decay", self.decay):
            return None
        b1, b2 = (float(rational("beta", b)) for b in (self.beta1, self.beta2))
        q, p1, p2 = b1 * b1 / b2, power(self.beta1, step), power(self.beta2, step)
        terms = (1 - q**step) / (1 - q) if q != 1 else float(step)
        return (1 - b1) / sqrt(1 - b2) * sqrt(terms) * sqrt(1 - p2) / (1 - p1)


def power(beta: str, step: int) -> float:
    """Return beta^step as a chain of binary64 products from 1."""
    factor, product = float(rational("beta", beta)), 1.0
    for _ in range(step):
        product *= factor
    return product
