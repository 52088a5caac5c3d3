"""Gated activations in integers: SiLU, two versions of GELU, ReLU, gpt-oss's, and sigmoid (docs/spec/numerics.md)."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

import numpy as np

from intact.numerics.fixed import rshift, sat32
from intact.numerics.functions import sigmoid

GELU_LINEAR = 1713444047  # 2 sqrt(2 / pi) in Q30
GELU_CUBIC = 76616651  # 2 sqrt(2 / pi) * 0.044715 in Q30
GELU_CLIP = 1 << 20  # beyond 16 the sigmoid is 0 or 1 to 30 bits
ERF_CLIP = 425984  # 6.5
ERF_SLOPE = (428330719, 19579033, -67035, -16418, 601)  # log(P / (1 - P)) / x by powers of x^2, Q28
OAI_SLOPE = 111542  # 1.702 in Q16
OAI_LIMIT = 7 << 16

Activation: TypeAlias = Literal["silu", "gelu", "relu", "swiglu_oai", "sigmoid", "gelu_erf"]
"""Functions that a gate applies to its input; gpt-oss's function clips both inputs and adds 1 to the second."""
GATES: Final[tuple[Activation, ...]] = get_args(Activation)
"""Numbers of these functions in the extension (native/kernels/kernels.h, GateKind)."""


def silu(x: np.ndarray) -> np.ndarray:
    """Return x * sigmoid(x), Q16 to Q16."""
    x = np.asarray(x, np.int64)
    return rshift(x * sigmoid(x), 30)


def gelu(x: np.ndarray) -> np.ndarray:
    """Return x / 2 * (1 + tanh(u)), u = sqrt(2 / pi) (x + 0.044715 x^3), which is x * sigmoid(2 u); Q16 to Q16."""
    x = np.asarray(x, np.int64)
    y = np.clip(x, -GELU_CLIP, GELU_CLIP)
    slope = GELU_LINEAR + rshift(rshift(y * y, 16) * GELU_CUBIC, 16)
    return rshift(x * sigmoid(sat32(rshift(y * slope, 30))), 30)


def gelu_erf(x: np.ndarray) -> np.ndarray:
    """Return x * P(x), P the normal distribution function (1 + erf(x / sqrt(2))) / 2; Q16 to Q16, within 1.2e-5.

    P is the sigmoid of x times the polynomial of degree 4 in x^2 that minimises the error of x * P. All x from -16 to
    16 were compared; outside this range, the result is 0 or x.
    """
    x = np.asarray(x, np.int64)
    y = np.clip(x, -ERF_CLIP, ERF_CLIP)
    return rshift(x * sigmoid(rshift(y * erf_slope(y), 28)), 30)


def erf_slope(y: np.ndarray) -> np.ndarray:
    """Return log(P(y) / (1 - P(y))) / y for y in Q16 from -6.5 to 6.5, as Q28; it is largest at the ends."""
    square, slope = rshift(y * y, 16), np.full(y.shape, ERF_SLOPE[-1], np.int64)
    for coefficient in ERF_SLOPE[-2::-1]:
        slope = rshift(slope * square, 16) + coefficient
    return slope


def relu(x: np.ndarray) -> np.ndarray:
    """Return max(x, 0), Q16 to Q16."""
    return np.maximum(np.asarray(x, np.int64), 0)


def swiglu_oai(x: np.ndarray) -> np.ndarray:
    """Return x * sigmoid(1.702 x) with x clipped to at most 7, Q16 to Q16, as in gpt-oss."""
    x = np.minimum(np.asarray(x, np.int64), OAI_LIMIT)
    return rshift(x * sigmoid(rshift(np.maximum(x, -GELU_CLIP) * OAI_SLOPE, 16)), 30)


_ACTIVATIONS: Final = {"silu": silu, "gelu": gelu, "relu": relu, "swiglu_oai": swiglu_oai, "gelu_erf": gelu_erf}


def gated(gate: np.ndarray, up: np.ndarray | None, kind: Activation) -> np.ndarray:
    """Return activation(gate) * up, or just activation(gate), from Q16 to Q20.

    swiglu_oai multiplies by up + 1, with up clipped to -7 to 7.
    """
    if kind == "sigmoid":
        share = sigmoid(np.asarray(gate, np.int64))
        return rshift(share, 10) if up is None else rshift(np.asarray(up, np.int64) * share, 26)
    activation = _ACTIVATIONS[kind](gate)
    if up is None:
        return activation << 4
    factor = np.asarray(up, np.int64)
    if kind == "swiglu_oai":
        factor = np.clip(factor, -OAI_LIMIT, OAI_LIMIT) + 65536
    return rshift(activation * factor, 12)
