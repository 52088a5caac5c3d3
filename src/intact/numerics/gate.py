"""Gated activations in integers: SiLU and the tanh form of GELU (docs/numerics.md, section 8)."""

from __future__ import annotations

import numpy as np

from intact.numerics.fixed import rshift, sat32
from intact.numerics.functions import sigmoid

GELU_LINEAR = 1713444047  # 2 sqrt(2 / pi) in Q30
GELU_CUBIC = 76616651  # 2 sqrt(2 / pi) * 0.044715 in Q30
GELU_CLIP = 1 << 20  # beyond 16 the sigmoid is 0 or 1 to 30 bits


def silu(x: np.ndarray) -> np.ndarray:
    """x * sigmoid(x), Q16 to Q16."""
    x = np.asarray(x, np.int64)
    return rshift(x * sigmoid(x), 30)


def gelu(x: np.ndarray) -> np.ndarray:
    """x / 2 * (1 + tanh(u)), u = sqrt(2 / pi) (x + 0.044715 x^3), which is x * sigmoid(2 u); Q16 to Q16."""
    x = np.asarray(x, np.int64)
    y = np.clip(x, -GELU_CLIP, GELU_CLIP)
    slope = GELU_LINEAR + rshift(rshift(y * y, 16) * GELU_CUBIC, 16)
    return rshift(x * sigmoid(sat32(rshift(y * slope, 30))), 30)


def gated(gate: np.ndarray, up: np.ndarray | None, kind: str) -> np.ndarray:
    """activation(gate) * up, or activation(gate), from Q16 to Q20."""
    activation = {"silu": silu, "gelu": gelu}[kind](gate)
    return activation << 4 if up is None else rshift(activation * np.asarray(up, np.int64), 12)
