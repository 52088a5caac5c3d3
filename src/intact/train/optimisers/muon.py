"""Muon (Jordan et al. 2024; scaled as in arXiv 2502.16982): orthogonalised momentum for matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from intact.numerics import fp32
from intact.numerics.fp32 import Floats
from intact.train.arithmetic.products import Products
from intact.train.pieces import Optimiser, OptimiserSlot
from intact.train.rationals import rational, rounded, share

_STEPS: Final = 5
_A, _B, _C = np.float32(3.4445), np.float32(-4.775), np.float32(2.0315)
_LEAST, _SIZE, _SMALLER = np.float32(1e-7), np.float32(0.2), np.float32(0.05)


@dataclass(frozen=True)
class Muon(Optimiser):
    """m = beta m + g; matrices move by the five-step Newton-Schulz iteration of g + beta m, others by signs.

    The products are those of the fp32 profile, the norm is a sum in its order.

    Parameters
    ----------
    beta : str
        Decay of the moment per step.
    """

    name: ClassVar[str] = "muon"
    summary: ClassVar[str] = "Orthogonalised momentum for matrices, signs for vectors"
    moments: ClassVar[tuple[str, ...]] = ("m",)

    beta: str = "19/20"

    def __post_init__(self) -> None:
        share("beta", self.beta)

    def move(self, state: OptimiserSlot, gradient: Floats, rate: np.float32, products: Products) -> OptimiserSlot:
        """Return the tensor and its moment after a step."""
        beta = rounded(rational("beta", self.beta))
        m = beta * state.moments[0] + gradient
        x = gradient + beta * m
        if x.ndim != 2:
            return OptimiserSlot(state.tensor - rate * (_SMALLER * np.sign(x)), (m,), state.step)
        size = _SIZE * np.sqrt(np.float32(max(x.shape)))
        return OptimiserSlot(state.tensor - rate * (size * orthogonal(x, products)), (m,), state.step)

    def bound(self, step: int) -> float | None:
        """Return None: an element's change has no sharp bound."""
        return None


def orthogonal(x: Floats, products: Products) -> Floats:
    """Return approximately the nearest orthogonal matrix; 0 for 0."""
    turned = x.shape[0] > x.shape[1]
    x = np.ascontiguousarray(x.T) if turned else x
    flat = x.reshape(1, -1)
    x = x / (np.sqrt(fp32.dot(flat, flat)[0]) + _LEAST)
    for _ in range(_STEPS):
        square = products.dot(x, x)
        inner = _B * square + _C * products.dot(square, np.ascontiguousarray(square.T))
        x = _A * x + products.dot(inner, np.ascontiguousarray(x.T))
    return np.ascontiguousarray(x.T) if turned else x
