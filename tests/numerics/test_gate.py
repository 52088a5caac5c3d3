"""SiLU and GELU in integers beside float64, and the bounds of their products."""

from __future__ import annotations

import numpy as np
import pytest

from intact.numerics import gate
from intact.numerics.fixed import LIMIT

X = np.concatenate([np.arange(-(1 << 20), 1 << 20, 37), [-LIMIT, -(1 << 30), 0, 1 << 30, LIMIT]])


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-np.clip(x, -700, 700)))


def gelu(x: np.ndarray) -> np.ndarray:
    clipped = np.clip(x, -100, 100)
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (clipped + 0.044715 * clipped**3)))


@pytest.mark.parametrize(("integer", "exact"), [(gate.silu, silu), (gate.gelu, gelu)])
def test_activations_are_close(integer: object, exact: object) -> None:
    """Half a unit of 2^-16, and the sigmoid's 1.4e-6 times |x| where it isn't flat."""
    assert callable(integer)
    assert callable(exact)
    error = np.abs(integer(X) / 65536 - exact(X / 65536))
    assert error.max() < 2e-5
    np.testing.assert_array_equal(integer(X[X > 1 << 20]), X[X > 1 << 20])
    assert not integer(X[X < -(1 << 21)]).any()


def test_the_gate_of_gpt_oss_and_relu() -> None:
    up = np.resize(np.array([-LIMIT, -(3 << 16), 0, 1 << 16, LIMIT]), len(X))
    g, u = np.minimum(X / 65536, 7), np.clip(up / 65536, -7, 7)
    exact = g / (1 + np.exp(-np.clip(1.702 * g, -700, 700))) * (u + 1)
    assert np.abs(gate.gated(X, up, "swiglu_oai") / 2**20 - exact).max() < 3e-4
    assert np.array_equal(gate.gated(X, None, "relu"), np.where(X > 0, X, 0) << 4)
    small = X[np.abs(X) < 1 << 20]
    assert np.abs(gate.gated(small, small, "relu") / 2**20 - np.where(small > 0, small / 65536, 0) ** 2).max() <= 2**-20


def test_constants_are_rounded() -> None:
    assert round(1.702 * 65536) == gate.OAI_SLOPE
    assert round(2 * np.sqrt(2 / np.pi) * 2**30) == gate.GELU_LINEAR
    assert round(2 * np.sqrt(2 / np.pi) * 0.044715 * 2**30) == gate.GELU_CUBIC


def test_products_have_four_more_bits_and_are_not_saturated() -> None:
    assert gate.gated(np.array([LIMIT]), np.array([LIMIT]), "silu")[0] == (LIMIT * LIMIT + (1 << 11)) >> 12
    assert (
        gate.gated(np.array([3 << 16]), np.array([1 << 16]), "silu")[0] == int(gate.silu(np.array([3 << 16]))[0]) << 4
    )
    # Largest products: a gate of 31 bits by a sigmoid of 2^30, an activation by an input, the cubic's slope by 2^20.
    assert LIMIT * (1 << 30) + (1 << 29) < 1 << 62
    assert LIMIT * LIMIT + (1 << 11) < 1 << 62
    slope = gate.GELU_LINEAR + ((((gate.GELU_CLIP**2 >> 16) * gate.GELU_CUBIC) + (1 << 15)) >> 16)
    assert gate.GELU_CLIP * slope + (1 << 29) < 1 << 62
    assert gate.GELU_CLIP * slope >> 30 > 31 << 16  # the sigmoid there is 0 or 1
