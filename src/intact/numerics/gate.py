"""Gated activations in integers: SiLU, GELU's tanh form, ReLU, gpt-oss's, sigmoid (docs/numerics.md, section 8)."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

import numpy as np

from intact.numerics.fixed import rshift, sat32
from intact.numerics.functions import sigmoid

GELU_LINEAR = 1713444047  # 2 sqrt(2 / pi) in Q30
GELU_CUBIC = 76616651  # 2 sqrt(2 / pi) * 0.044715 in Q30
GELU_CLIP = 1 << 20  # beyond 16 the sigmoid is 0 or 1 to 30 bits
OAI_SLOPE = 111542  # 1.702 in Q16
OAI_LIMIT = 7 << 16

Activation: TypeAlias = Literal["silu", "gelu", "relu", "swiglu_oai", "sigmoid"]
"""Functions that a gate applies to its input; gpt-oss's clips both sides and adds 1 to the other."""
GATES: Final[tuple[Activation, ...]] = get_args(Activation)
"""They by their numbers in the extension (native/kernels/kernels.h, GateKind)."""


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


def relu(x: np.ndarray) -> np.ndarray:
    """max(x, 0), Q16 to Q16."""
    return np.maximum(np.asarray(x, np.int64), 0)


def swiglu_oai(x: np.ndarray) -> np.ndarray:
    """x * sigmoid(1.702 x) for x of at most 7, Q16 to Q16; of gpt-oss."""
    x = np.minimum(np.asarray(x, np.int64), OAI_LIMIT)
    return rshift(x * sigmoid(rshift(np.maximum(x, -GELU_CLIP) * OAI_SLOPE, 16)), 30)


def gated(gate: np.ndarray, up: np.ndarray | None, kind: Activation) -> np.ndarray:
    """activation(gate) * up, or activation(gate), from Q16 to Q20.

    swiglu_oai multiplies by up + 1, for an up of -7 to 7.
    """
    if kind == "sigmoid":
        share = sigmoid(np.asarray(gate, np.int64))
        return rshift(share, 10) if up is None else rshift(np.asarray(up, np.int64) * share, 26)
    activation = {"silu": silu, "gelu": gelu, "relu": relu, "swiglu_oai": swiglu_oai}[kind](gate)
    if up is None:
        return activation << 4
    factor = np.asarray(up, np.int64)
    if kind == "swiglu_oai":
        factor = np.clip(factor, -OAI_LIMIT, OAI_LIMIT) + 65536
    return rshift(activation * factor, 12)
