"""Norms, rotary embedding and gates of every tier equal the reference bit for bit."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from intact._native import kernels
from intact.numerics import experts, gate, norm, rope
from intact.numerics.fixed import LIMIT, sat32
from intact.numerics.functions import sigmoid
from intact.numerics.soft_cap import make_soft_cap, soft_cap
from support.examples import examples

pytestmark = pytest.mark.native

TIERS = kernels.tiers()
# Largest gain times sqrt(n), as an exponent: what executors accept.
LEAST_GAIN, MOST_GAIN = -20, 40


def random_gain(rng: np.random.Generator, width: int, exponent: int) -> norm.Gain:
    factor = np.clip(np.rint(rng.normal(0, 2.0**29, width)), -(1 << 30), 1 << 30).astype(np.int32)
    factor[rng.integers(0, width)] = rng.choice([-(1 << 30), 1 << 30])
    return norm.Gain(factor, exponent, int(rng.choice([0, 1, 1 << 30, rng.integers(0, 1 << 40)])))


def assert_norms(tier: str, x: NDArray[np.int64], gain: norm.Gain) -> None:
    """All three forms that a norm has."""
    integers = gain.factor, gain.exponent, gain.epsilon
    expected = norm.rmsnorm(x[None], 20, gain, gain.fraction)[0]
    np.testing.assert_array_equal(kernels.norm(tier, x, *integers), expected)
    expected = norm.rmsnorm(x[None], 20, gain, 20)[0]
    for accumulate in (False, True):
        out = np.arange(len(x)) << 30
        kernels.norm_wide(tier, x, *integers, out, accumulate)
        np.testing.assert_array_equal(out, expected + accumulate * (np.arange(len(x)) << 30))
    head = sat32(x >> 30 if np.abs(x).max() > 1 << 50 else x)
    expected = sat32(norm.rmsnorm(head[None], 16, gain, 16))[0]
    np.testing.assert_array_equal(kernels.norm_head(tier, head.astype(np.int32), *integers), expected)


@pytest.mark.parametrize("tier", TIERS)
@given(
    st.integers(1, 300) | st.sampled_from([896, 4864]), st.integers(0, 61), st.integers(LEAST_GAIN, MOST_GAIN),
    st.integers(0, 2**32),
)  # fmt: skip
@examples(150)
def test_norms_equal_the_reference(tier: str, width: int, bits: int, exponent: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = np.rint(np.clip(rng.normal(0, 2.0**bits, width), -(2.0**61), 2.0**61)).astype(np.int64)
    x[rng.random(width) < rng.choice([0, 0.1, 1])] = 0
    x[rng.integers(0, width)] *= int(rng.choice([0, 1, max(1, min(1000, (1 << 61) // max(1, int(np.abs(x).max()))))]))
    assert_norms(tier, x, random_gain(rng, width, exponent))


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("outlier", [24_000, 104_000])
@pytest.mark.parametrize("width", [576, 640, 1536])
def test_norms_of_a_residual_with_outliers(tier: str, outlier: int, width: int) -> None:
    """A few values are a million times the median, as in real residual streams."""
    rng = np.random.default_rng(outlier + width)
    x = np.rint(rng.normal(0, 0.15 * (1 << 20), width)).astype(np.int64)
    x[[3, width // 2]] = outlier << 20, -(outlier << 20)
    gain = norm.make_gain(rng.uniform(0.01, 60, width).astype(np.float32), 1e-6)
    assert_norms(tier, x, gain)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(
    "value", [0, 1, -1, (1 << 20) - 1, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 62) - 1, -(1 << 62) + 1]
)
@pytest.mark.parametrize("exponent", [LEAST_GAIN, 0, MOST_GAIN])
def test_norms_of_equal_and_of_single_values(tier: str, value: int, exponent: int) -> None:
    factor = np.array([1 << 30, -(1 << 30), 1, 0] * 16 + [12345], np.int32)
    for epsilon in (0, 1, 1 << 55):
        gain = norm.Gain(factor, exponent, epsilon)
        assert_norms(tier, np.full(65, value), gain)
        for single in (0, 64):
            assert_norms(tier, np.where(np.arange(65) == single, value, 0), gain)


@pytest.mark.parametrize("tier", TIERS)
def test_norms_of_the_widest_row(tier: str) -> None:
    """16,384 values of the largest size: the sum of squares is 2^54."""
    x = np.full(16384, (1 << 62) - 1)
    x[::2] *= -1
    assert_norms(tier, x, norm.Gain(np.full(16384, 1 << 30, np.int32), 7, 1 << 40))


@pytest.mark.parametrize("tier", TIERS)
@given(
    st.integers(0, 1 << 20) | st.integers(0, (1 << 63) - 1),
    st.lists(st.integers(0, (1 << 64) - 1), min_size=1, max_size=40),
)
@examples(100)
def test_sines_equal_the_reference(tier: str, position: int, turns: list[int]) -> None:
    # Besides, the edges of quadrants.
    edges = [k << 61 for k in range(8)] + [(k << 61) - 1 for k in range(1, 8)]
    frequency = np.array(turns + edges, np.uint64)
    for at in (position, 1):
        expected = rope.sine_cosine(np.array([at]), frequency)
        for got, wanted in zip(kernels.sine_cosine(tier, at, frequency), expected, strict=True):
            np.testing.assert_array_equal(got, wanted[0])


@pytest.mark.parametrize("tier", TIERS)
@given(st.integers(1, 40), st.integers(0, 9), st.booleans(), st.integers(0, 2**32))
@examples(80)
def test_rotations_equal_the_reference(tier: str, half: int, rest: int, interleaved: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    limit = int(rng.choice([1 << 18, LIMIT]))
    x = rng.integers(-limit, limit + 1, 2 * half + rest)
    x[rng.random(len(x)) < 0.2] = rng.choice([-limit, limit])
    turns = rng.integers(0, 1 << 63, half).astype(np.uint64) * np.uint64(2)
    turns[rng.random(half) < 0.3] = 1 << 61  # 45 degrees: the largest results
    sine, cosine = rope.sine_cosine(np.array([1]), turns)
    expected = rope.rotate(x[None, None], sine, cosine, interleaved)[0, 0]
    parts = x.astype(np.int32), sine[0].astype(np.int32), cosine[0].astype(np.int32)
    np.testing.assert_array_equal(kernels.rotate(tier, *parts, interleaved), expected)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("kind", gate.GATES)
@given(st.integers(1, 200), st.integers(0, 31), st.integers(0, 31), st.integers(0, 2**32))
@examples(80)
def test_gates_equal_the_reference(
    tier: str, kind: gate.Activation, count: int, gate_bits: int, up_bits: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x, up = (
        np.rint(np.clip(rng.normal(0, 2.0**bits, count), -LIMIT, LIMIT)).astype(np.int32)
        for bits in (gate_bits, up_bits)
    )
    x[0], up[-1] = rng.choice([-LIMIT, 0, LIMIT]), rng.choice([-LIMIT, LIMIT])
    np.testing.assert_array_equal(kernels.gate(tier, x, up, gate.GATES.index(kind)), gate.gated(x, up, kind))


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("kind", gate.GATES)
def test_gates_equal_the_reference_at_every_argument(
    tier: str, kind: gate.Activation, request: pytest.FixtureRequest
) -> None:
    """Beyond 31 / log2(e) = 21.5 the sigmoid is 0 or 1 exactly; the GELU's reaches that before 8."""
    edge = 1 << 19 if kind == "gelu" else 1_409_000
    step = 997 if request.config.getoption("--hypothesis-profile") == "few" else 1
    x = np.arange(-edge, edge + 1, step, dtype=np.int32)
    up = np.full(len(x), 1 << 22, np.int32)
    got = kernels.gate(tier, x, up, gate.GATES.index(kind))
    assert got[0] == 0
    assert kind == "swiglu_oai" or got[-1] == (1 << 26 if kind == "sigmoid" else int(x[-1]) << 10)
    for part in np.array_split(np.arange(len(x)), 1 + len(x) // 100_000):
        np.testing.assert_array_equal(got[part], gate.gated(x[part], up[part], kind))


@pytest.mark.parametrize("tier", TIERS)
@given(st.integers(1, 200), st.integers(0, 31), st.fractions(1, 16384, max_denominator=1000), st.integers(0, 2**32))
@examples(80)
def test_sigmoids_and_soft_caps_equal_the_reference(tier: str, count: int, bits: int, cap: Fraction, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = np.rint(np.clip(rng.normal(0, 2.0**bits, count), -LIMIT, LIMIT)).astype(np.int32)
    x[0] = rng.choice([-LIMIT, 0, LIMIT])
    np.testing.assert_array_equal(kernels.sigmoid(tier, x), sigmoid(x))
    integers = make_soft_cap(cap)
    np.testing.assert_array_equal(kernels.soft_cap(tier, x, *integers), soft_cap(x, integers))


@pytest.mark.parametrize("tier", TIERS)
@given(st.integers(1, 100), st.integers(0, 62), st.integers(0, (1 << 20) - 1), st.integers(0, 2**32))
@examples(80)
def test_scaled_sums_equal_the_reference(tier: str, count: int, bits: int, factor: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = (rng.integers(-(1 << bits), 1 << bits, count) for _ in range(2))
    x >>= 4
    expected = x + experts.scaled(y[None], np.array([factor]))[0]
    np.testing.assert_array_equal(kernels.add_scaled(tier, x, y, factor), expected)
