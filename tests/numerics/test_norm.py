"""RMSNorm in integers beside exact arithmetic, and its bounds."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.numerics.norm import Gain, layer_norm, make_gain, normalize, rmsnorm
from support.examples import examples


def exact_unit(row: list[int], fraction: int, gain: Gain) -> list[float]:
    """The elements of x / sqrt(sum x^2 + n eps), to float64's precision, by integers of any size."""
    epsilon = Fraction(gain.epsilon, 1 << 40)
    squares = sum(Fraction(v, 1 << fraction) ** 2 for v in row) + epsilon
    if squares == 0:
        return [0.0] * len(row)
    root = Fraction(math.isqrt(int(squares * 2**200)), 2**100)
    return [float(Fraction(v, 1 << fraction) / root) for v in row]


def unit_gain(width: int, epsilon: int) -> Gain:
    return Gain(np.full(width, 1 << 30, np.int32), 0, epsilon)


@given(st.integers(1, 70), st.integers(0, 61), st.sampled_from([16, 20]), st.integers(0, 2**32))
def test_units_are_exact_to_18_bits_of_the_largest(width: int, bits: int, fraction: int, seed: int) -> None:
    """The sum of squares has values of 20 bits, half a unit of which is 2^-21 of the largest value."""
    rng = np.random.default_rng(seed)
    x = np.rint(np.clip(rng.normal(0, 2.0 ** min(bits, 30 if fraction == 16 else 61), width), -(2.0**61), 2.0**61))
    x = x.astype(np.int64)
    gain = unit_gain(width, int(rng.choice([0, 1 << 20, 1 << 42])))
    got = normalize(x[None], fraction, gain)[0]
    assert np.abs(got).max() <= (1 << 30) + 1100
    small = int(np.abs(x).max()) < 16 and gain.epsilon  # the epsilon is rounded to the fraction's units squared
    expected = np.array(exact_unit(x.tolist(), fraction, gain))
    assert np.abs(got / 2**30 - expected).max() <= (0.6 if small else 2.0**-18)


@pytest.mark.parametrize("outlier", [24_000, 104_000])
@pytest.mark.parametrize("width", [576, 1536])
def test_small_values_beside_outliers_keep_their_precision(outlier: int, width: int) -> None:
    """Values near 0.1 beside one a million times as large come out to 1.6 units of the result and a relative 2^-19."""
    rng = np.random.default_rng(outlier)
    x = np.rint(rng.normal(0, 0.15, width) * (1 << 20)).astype(np.int64)
    x[7] = outlier << 20
    gain = make_gain(np.ones(width, np.float32), 1e-6)
    got = rmsnorm(x[None], 20, gain, gain.fraction)[0] * 2.0**-gain.fraction
    expected = x / np.sqrt((x.astype(float) ** 2).mean())
    assert (np.abs(got - expected) < 1.6 * 2.0**-gain.fraction + 2.0**-19 * np.abs(expected)).all()
    assert 2.0**-gain.fraction < 2**-8 * np.median(np.abs(expected))


@given(st.integers(1, 300), st.integers(-15, 15), st.integers(0, 2**32))
@examples(40)
def test_gains_have_20_bits_of_the_root(width: int, power: int, seed: int) -> None:
    gain = (np.random.default_rng(seed).normal(0, 1, width) * 2.0**power).astype(np.float32)
    made = make_gain(gain, 1e-5)
    assert np.abs(made.factor.astype(int)).max() <= 1 << 30
    value = np.ldexp(made.factor.astype(float), made.exponent - 30)
    largest = float(np.abs(gain).max())
    error = np.abs(value - gain.astype(float) * math.sqrt(width)).max()
    assert error <= largest * (2.0**-28 * math.sqrt(width) + 2.0**-20)


def test_epsilon_is_the_decimal_that_was_written() -> None:
    assert make_gain(np.ones(64, np.float32), 1e-5).epsilon == round(Fraction(64 << 40, 100_000))


@given(st.integers(1, 40), st.integers(0, 2**32))
def test_norms_do_not_change_with_the_size(width: int, seed: int) -> None:
    """Doubling values with the top bit of a range in use changes no bit of the result, without epsilon."""
    x = np.random.default_rng(seed).integers(-(1 << 40), 1 << 40, (1, width))
    gain = unit_gain(width, 0)
    np.testing.assert_array_equal(normalize(x << 3, 20, gain), normalize(x << 4, 20, gain))


def test_the_bounds_of_the_sums() -> None:
    """Squares of 20 bits and a sign, of 2^14 values at most; a product of 31 by 31 bits; one of 30 by 30."""
    assert 16384 * (1 << 20) ** 2 <= 1 << 54
    x = np.full((1, 16384), (1 << 62) - 1)
    got = normalize(x, 20, unit_gain(16384, 1 << 55))
    assert (np.abs(got / 2**30 - 2.0**-7) < 2e-8).all()
    zero = normalize(np.zeros((1, 5), np.int64), 20, unit_gain(5, 0))
    assert not zero.any()
    single = normalize(np.array([[0, 0, -1]]), 16, unit_gain(3, 0))
    assert single.tolist() == [[0, 0, -(1 << 30)]]


def test_a_layer_norm_is_that_of_floats_and_clips_its_rows() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(0, 3, (5, 96)) + rng.normal(0, 20, (5, 1))
    g, bias = rng.normal(1, 0.3, 96).astype(np.float32), rng.normal(0, 1, 96)
    rows, added = np.rint(x * (1 << 20)).astype(np.int64), np.rint(bias * (1 << 20)).astype(np.int64)
    centred = x - x.mean(axis=1, keepdims=True)
    expected = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5) * g + bias
    gain = make_gain(g, 1e-5)
    assert np.abs(layer_norm(rows, gain, added) / (1 << 20) - expected).max() < 2e-5
    clipped = np.clip(rows << 40, -(1 << 46), 1 << 46)
    assert np.array_equal(layer_norm(rows << 40, gain, None), layer_norm(clipped, gain, None))


@given(st.integers(1, 6), st.integers(1, 40), st.integers(0, 2**32))
@examples(40)
def test_a_group_of_columns_is_normed_by_itself_with_its_own_gains(groups: int, width: int, seed: int) -> None:
    """Each group comes out as a row of its own would, to a unit of the result: all share one exponent."""
    rng = np.random.default_rng(seed)
    x = np.rint(rng.normal(0, 2.0 ** rng.integers(0, 12, (groups, 1)), (groups, width)) * (1 << 20)).astype(np.int64)
    gains = rng.normal(1, 0.5, (groups, width)).astype(np.float32)
    whole = make_gain(gains.reshape(-1), 1e-5, groups)
    got = rmsnorm(x.reshape(1, -1), 20, whole, whole.fraction, groups).reshape(groups, width) * 2.0**-whole.fraction
    squares = np.square(x * 2.0**-20).mean(axis=1, keepdims=True)
    expected = x * 2.0**-20 / np.sqrt(squares + 1e-5) * gains
    assert np.abs(got - expected).max() <= 2.0**-16 * np.abs(expected).max() + 2.0**-whole.fraction
    for i in range(groups):
        own = make_gain(gains[i], 1e-5)
        assert own.epsilon == whole.epsilon
        if np.abs(gains[i]).max() == np.abs(gains).max():
            alone = rmsnorm(x[i : i + 1], 20, own, own.fraction)[0] * 2.0**-own.fraction
            np.testing.assert_array_equal(alone, got[i])
