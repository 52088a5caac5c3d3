"""SiLU and GELU in integers beside float64, and the bounds of their products."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from intact.numerics import fp32, gate
from intact.numerics.fixed import LIMIT
from intact.numerics.functions import tanh

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


def test_gelu_by_the_error_function_is_within_a_unit_for_every_input() -> None:
    x = np.arange(-(1 << 20), (1 << 20) + 1)
    assert np.abs(gate.gelu_erf(x) / 65536 - x / 65536 * ndtr(x / 65536)).max() < 1.2e-5 < 2**-16
    far = np.array([-LIMIT, -(1 << 30), -(1 << 20), 1 << 20, 1 << 30, LIMIT])
    np.testing.assert_array_equal(gate.gelu_erf(far), np.maximum(far, 0))
    inside = np.arange(gate.ERF_CLIP + 1)
    assert gate.erf_slope(inside).max() == gate.erf_slope(inside[-1:])[0] < 1 << 31
    assert np.all(np.diff(inside * gate.erf_slope(inside)) > 0)


def test_gelu_by_the_error_function_in_floats() -> None:
    x = np.linspace(-20, 20, 1 << 20).astype(np.float32)
    exact = x.astype(np.float64) * ndtr(x.astype(np.float64))
    assert np.abs(fp32.gelu_erf(x) - exact).max() < 6e-7
    ends = np.array([np.inf, 1e30, 6.5, -1e30, -np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(
        fp32.gelu_erf(ends)[[0, 1, 3, 4, 5]], np.array([np.inf, 1e30, 0, 0, np.nan], np.float32)
    )


def test_tanh_is_close() -> None:
    x = np.arange(-(1 << 20), 1 << 20, 37)
    assert np.abs(tanh(x) / 2**30 - np.tanh(x / 65536)).max() < 3e-6
    assert tanh(np.array([LIMIT, -LIMIT, 0])).tolist() == [1 << 30, -(1 << 30), 0]
    y = (x / 65536).astype(np.float32)
    assert np.abs(fp32.tanh(y) - np.tanh(y.astype(np.float64))).max() < 3e-7


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
