"""Fixed point against exact integers, and the functions' errors against float64."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.numerics import fixed
from intact.numerics.functions import (
    LN2,
    LOG2E,
    exp2_neg,
    inverse_sqrt,
    log2_fixed,
    shift_for,
    sigmoid,
)

LARGE = st.integers(-(1 << 62) + 1, (1 << 62) - 1)


def half_up(x: Fraction) -> int:
    return math.floor(x + Fraction(1, 2))


def test_constants_are_rounded() -> None:
    assert round(math.log2(math.e) * 2**30) == LOG2E
    assert round(math.log(2) * 2**30) == LN2


@given(LARGE, st.integers(0, 70))
def test_shifts_round_half_up(x: int, s: int) -> None:
    expected = half_up(Fraction(x, 1 << s)) if s < 63 else 0
    assert fixed.rshift(x, s) == expected == fixed.shift(x, s)


@given(LARGE, st.integers(1, 70))
def test_shifts_to_the_left_clip_first(x: int, s: int) -> None:
    assert fixed.shift(x, -s) == max(-fixed.LIMIT, min(fixed.LIMIT, x)) << min(s, 31)


@given(st.integers(0, (1 << 63) - 1))
def test_bit_lengths(x: int) -> None:
    assert fixed.bitlen(x) == x.bit_length()
    assert shift_for(np.int64(x), 20) == max(x.bit_length() - 20, 0)


def test_bit_lengths_at_powers_of_two() -> None:
    powers = np.int64(1) << np.arange(63)
    np.testing.assert_array_equal(fixed.bitlen(powers), np.arange(1, 64))
    np.testing.assert_array_equal(fixed.bitlen(powers - 1), np.arange(63))


def test_exp2_of_every_fraction() -> None:
    """Relative error below 1e-7 and half a unit, falling from 2^30 to 2^29, for all 65,536 fractions."""
    t = np.arange(1 << 16)
    values = exp2_neg(t)
    exact = np.exp2(30 - t / 65536)
    assert np.abs(values - exact).max() < 1e-7 * 2**30 + 1
    assert (np.abs(values / exact - 1) < 1e-7).all()
    assert values[0] == 1 << 30
    assert (np.diff(values) < 0).all()
    assert values[-1] > exp2_neg(1 << 16) == 1 << 29


def test_exp2_of_whole_parts_is_a_rounded_shift() -> None:
    t = np.arange(0, 1 << 16, 7)
    for whole in range(40):
        expected = fixed.rshift(exp2_neg(t), whole) if whole < 31 else 0
        np.testing.assert_array_equal(exp2_neg(t + (whole << 16)), expected)
    assert exp2_neg((1 << 33) - 1) == 0


def test_exp2_stays_in_64_bits() -> None:
    """Every product of the polynomial: a coefficient or partial result below 2^30 times a fraction below 2^30."""
    exact = 0
    for fraction in (0, 1 << 29, (1 << 30) - (1 << 14)):
        acc = -1014583
        for coefficient in (9884650, -59375086, 257891465, -744257403, 1073741824):
            assert abs(acc * fraction) + (1 << 29) < 1 << 60
            acc = half_up(Fraction(acc * fraction, 1 << 30)) + coefficient
        exact = acc
        assert exp2_neg(fraction >> 14) == exact


def test_sigmoid_is_close_and_symmetric() -> None:
    """The argument of exp2 is rounded to 2^-17: an error of 1.4e-6 at most; sigmoid(-x) = 1 - sigmoid(x) exactly."""
    x = np.concatenate(
        [np.arange(-(1 << 18), 1 << 18, 3), np.arange(-(1 << 21), 1 << 21, 111), [-fixed.LIMIT, fixed.LIMIT]]
    )
    values = sigmoid(x)
    exact = 1 / (1 + np.exp(-np.clip(x / 65536, -700, 700)))
    assert np.abs(values / 2**30 - exact).max() < 1.4e-6
    np.testing.assert_array_equal(values + sigmoid(-x), 1 << 30)
    assert sigmoid(np.int64(0)) == 1 << 29
    assert sigmoid(np.int64(fixed.LIMIT)) == 1 << 30
    order = np.sort(x)
    assert (np.diff(sigmoid(order)) >= 0).all()


def newton(d: np.ndarray) -> np.ndarray:
    """The kernels' way to 2^60 / d before they correct it (native/kernels/integer.inl)."""
    y = 3031741621 - ((2021161081 * d) >> 31)
    for _ in range(3):
        y = (y * ((1 << 31) - ((d * y) >> 31))) >> 30
    return y >> 1


def test_the_kernels_reciprocal_needs_no_more_than_its_two_corrections() -> None:
    """y is 2^61 / d.

    The first guess 48/17 - 32/17 x is within 1/17 of 1/x for x = d / 2^31 in [1/2, 1]. A Newton step squares the
    relative error: after three it is 17^-8 = 1.4e-10, or 0.3 in 2^31; each also rounds two products down. So y is
    within 4 of 2^61 / d, y >> 1 at most 2 away from the quotient, and each correction takes it one nearer.
    """
    rng = np.random.default_rng(0)
    ends = np.arange(1 << 16)
    dense = np.arange(1 << 30, (1 << 31) + 1, 1021)
    d = np.concatenate([(1 << 30) + ends, (1 << 31) - ends, dense, rng.integers(1 << 30, (1 << 31) + 1, 1 << 18)])
    error = (1 << 60) // d - newton(d)
    assert error.min() >= -2
    assert error.max() <= 2
    # No product passes 63 bits: d * y is about 2^62.
    assert int(((d >> 1) * (newton(d) >> 1)).max()) < 1 << 60


@given(st.integers(1, (1 << 62) - 1))
def test_inverse_square_roots_have_29_bits(v: int) -> None:
    r, p = inverse_sqrt(v)
    assert 1 << 30 <= r <= 1 << 31
    # r^2 * v * 2^(2p - 122) against 1
    assert abs(Fraction(r * r * v << (2 * p), 1 << 122) - 1) < Fraction(1, 1 << 28)


@pytest.mark.parametrize("v", [1, 2, 3, 4, (1 << 60) - 1, 1 << 60, 1 << 61, (1 << 62) - 1])
def test_inverse_square_roots_at_the_ends(v: int) -> None:
    test_inverse_square_roots_have_29_bits.hypothesis.inner_test(v)  # type: ignore[attr-defined]


@given(st.integers(1, (1 << 62) - 1))
def test_logarithms_are_cut_to_28_bits(v: int) -> None:
    """Truncation of the mantissa's squares makes the result too small by less than 2^-26."""
    error = math.log2(v) - log2_fixed(v) / 2**28
    assert -(2**-40) < error < 2**-26


def test_logarithms_of_powers_of_two_are_exact() -> None:
    for k in range(63):
        assert log2_fixed(1 << k) == k << 28
