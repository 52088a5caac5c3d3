"""Rotary embedding: frequencies to many digits, sines to 3e-9, rotations that keep lengths."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import ModelError
from intact.numerics import rope
from intact.numerics.fixed import LIMIT
from intact.numerics.rope import attention_factor, rotation, sine_cosine

PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")


def as_decimal(x: int) -> Decimal:
    with localcontext() as context:
        context.prec = 80
        return Decimal(x) / Decimal(2**rope.PRECISION)


def test_pi_has_47_digits() -> None:
    assert abs(as_decimal(rope.pi()) - PI) < Decimal("1e-46")


@pytest.mark.parametrize("base", [1.0, 1.5, 2.0, 10000.0, 500000.0, 1e6, 1e12])
def test_logarithms_and_exponentials_have_40_digits(base: float) -> None:
    with localcontext() as context:
        context.prec = 60
        logarithm = rope.ln(Fraction(base))
        assert abs(as_decimal(logarithm) - Decimal(base).ln()) < Decimal("1e-44")
        for part in (0, 3, 64):
            assert abs(
                as_decimal(rope.exp(-(logarithm * part // 64))) - (-Decimal(base).ln() * part / 64).exp()
            ) < Decimal("1e-42")


@pytest.mark.parametrize(("base", "width"), [(10000.0, 64), (1e6, 128), (500000.0, 2)])
def test_frequencies_are_powers_of_the_base(base: float, width: int) -> None:
    got = rope.inverse_frequencies(base, width)
    assert len(got) == width // 2
    for i, frequency in enumerate(got):
        assert math.isclose(frequency, base ** (-2 * i / width), rel_tol=1e-13)
    turns = rope.turns(got)
    for frequency, turn in zip(got, turns.tolist(), strict=True):
        assert abs(
            Decimal(turn) / 2**64 - Decimal(frequency.numerator) / Decimal(frequency.denominator) / (2 * PI)
        ) < Decimal("3e-20")


def angles(turns: np.ndarray) -> np.ndarray:
    """Fractions of a turn as radians in -pi..pi."""
    return turns.view(np.int64).astype(np.float64) * (2 * math.pi / 2**64)


def test_sines_are_exact_to_three_parts_in_a_billion() -> None:
    dense = np.arange(0, 1 << 18, dtype=np.uint64) << np.uint64(46)
    rng = np.random.default_rng(0)
    edges = np.array(
        [(k << 61) + d for k in range(8) for d in (0, 1, 1 << 30)] + [(k << 61) - 1 for k in range(1, 8)], np.uint64
    )
    turns = np.concatenate([dense, edges, rng.integers(0, 1 << 63, 1 << 16).astype(np.uint64) * np.uint64(2)])
    sine, cosine = (values[0] / 2**30 for values in rope.sine_cosine(np.array([1]), turns))
    assert np.abs(sine - np.sin(angles(turns))).max() < 3e-9
    assert np.abs(cosine - np.cos(angles(turns))).max() < 3e-9
    assert np.abs(sine**2 + cosine**2 - 1).max() < 6e-9


def test_quarters_are_exact() -> None:
    quarters = np.arange(4, dtype=np.uint64) << np.uint64(62)
    sine, cosine = rope.sine_cosine(np.array([1]), quarters)
    assert (sine[0] >> 30).tolist() == [0, 1, 0, -1]
    assert (cosine[0] >> 30).tolist() == [1, 0, -1, 0]


@given(st.integers(0, 1 << 20), st.integers(0, (1 << 64) - 1))
def test_angles_of_any_position_are_exact(position: int, turn: int) -> None:
    """The product wraps, as angles do."""
    direct = rope.sine_cosine(np.array([position]), np.array([turn], np.uint64))
    wrapped = rope.sine_cosine(np.array([1]), np.array([position * turn % 2**64], np.uint64))
    assert np.array_equal(direct, wrapped)


@given(st.integers(1, 20), st.integers(0, 5), st.booleans(), st.integers(0, 2**32))
def test_rotations_keep_lengths_and_the_rest(half: int, rest: int, interleaved: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(-(1 << 24), 1 << 24, (2, 3, 2 * half + rest))
    sine, cosine = rope.sine_cosine(np.array([3, 900]), rng.integers(0, 1 << 63, half).astype(np.uint64))
    y = rope.rotate(x, sine, cosine, interleaved)
    np.testing.assert_array_equal(y[..., 2 * half :], x[..., 2 * half :])
    first = slice(0, 2 * half, 2) if interleaved else slice(0, half)
    second = slice(1, 2 * half, 2) if interleaved else slice(half, 2 * half)
    before, after = (np.hypot(z[..., first], z[..., second]) for z in (x, y))
    assert np.abs(before - after).max() < 1.5
    angle = np.arctan2(sine, cosine)[:, None]
    exact = x[..., first] * np.cos(angle) - x[..., second] * np.sin(angle)
    assert np.abs(y[..., first] - exact).max() < 1.5


def test_rotations_saturate() -> None:
    x = np.full((1, 1, 2), LIMIT)
    sine, cosine = rope.sine_cosine(np.array([1]), np.array([1 << 61], np.uint64))
    first, second = rope.rotate(x, sine, cosine, interleaved=False)[0, 0]
    assert abs(first) < 8
    assert second == LIMIT
    # Both products and their sum stay below 2^62.
    assert 2 * LIMIT * int(np.abs(np.concatenate([sine, cosine])).max()) < 1 << 62


def yarn_in_floats(base: float, width: int, factor: float, original: int, fast: float, slow: float) -> np.ndarray:
    """The frequencies of YaRN as its authors' program computes them, float64."""
    plain = base ** (-np.arange(0, width, 2) / width)
    low, high = (width * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(base)) for turns in (fast, slow))
    low, high = max(math.floor(low), 0), min(math.ceil(high), width - 1)
    ramp = np.clip((np.arange(width // 2) - low) / ((high - low) or 0.001), 0, 1)
    return plain / factor * ramp + plain * (1 - ramp)


@pytest.mark.parametrize(
    ("base", "width", "factor", "original", "fast", "slow"),
    [(10000.0, 64, 4.0, 4096, 32.0, 1.0), (1e6, 128, 16.0, 32768, 32.0, 1.0), (500.0, 8, 2.0, 16, 2.0, 2.0)],
)
def test_yarn_is_that_of_the_paper(
    base: float, width: int, factor: float, original: int, fast: float, slow: float
) -> None:
    scaling = {"type": "yarn", "factor": factor, "original": original, "beta_fast": fast, "beta_slow": slow}
    found = rotation(base, width, scaling).astype(np.float64) / 2**64 * 2 * math.pi
    assert np.allclose(found, yarn_in_floats(base, width, factor, original, fast, slow), rtol=1e-12, atol=1e-18)
    assert float(attention_factor(scaling)) == np.float32(1 + math.log(factor) / 10)


def test_attention_factors() -> None:
    longrope = {"type": "longrope", "factor": 32.0, "original": 4096}
    assert float(attention_factor(longrope)) == np.float32(math.sqrt(1 + math.log(32) / math.log(4096)))
    assert float(attention_factor(longrope | {"attention_factor": 1.25})) == 1.25
    assert attention_factor({"type": "linear", "factor": 4.0}) == attention_factor({}) == 1
    both = {"type": "yarn", "factor": 8.0, "original": 64, "mscale": 1.0, "mscale_all_dim": 1.0}
    assert attention_factor(both) == 1
    with pytest.raises(ModelError, match="attention factor of 2"):
        attention_factor(longrope | {"attention_factor": 2.0})


def test_a_factor_multiplies_sines_and_cosines() -> None:
    positions, turns = np.arange(50), rotation(10000.0, 32, {})
    plain, scaled = sine_cosine(positions, turns), sine_cosine(positions, turns, Fraction(5, 4))
    for one, other in zip(plain, scaled, strict=True):
        assert np.abs(other - one * 1.25).max() <= 0.5
