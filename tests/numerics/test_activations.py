"""Activations quantised to int8 with block scales: error bounds, ranges and the extremes."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from intact.numerics.activations import BLOCK, LARGEST, LARGEST_SUM, Quantized, block_sums, quantize
from intact.numerics.fixed import LIMIT
from support.examples import examples

WIDE = (1 << 62) - 1


def values(a: Quantized, row: int, fraction: int) -> list[Fraction]:
    """The exact numbers of a row, in units of 2^-fraction."""
    scale = np.repeat(a.scale[row].astype(np.int64), BLOCK)
    step = Fraction(2) ** (int(a.exponent[row]) + fraction)
    return [int(c) * int(s) * step for c, s in zip(a.codes[row], scale, strict=True)]


def rows(seed: int, columns: int, limit: int) -> NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    size = 2.0 ** rng.uniform(0, np.log2(limit), (4, 1)) * rng.choice([1, 1, 0.01, 0], (4, columns))
    return np.clip(np.rint(rng.normal(0, 1, (4, columns)) * size), -limit, limit).astype(np.int64)


@examples(40)
@given(st.integers(0, 2**32), st.integers(1, 100), st.sampled_from([3, 1 << 12, LIMIT, WIDE]), st.integers(-4, 30))
def test_the_error_is_half_a_step(seed: int, columns: int, limit: int, fraction: int) -> None:
    """Half the block's scale for the code and half a unit for the row; the reciprocal errs by 127 * 8191 / 2^25."""
    x = rows(seed, columns, limit)
    a = quantize(x, fraction)
    assert np.abs(a.codes.astype(int)).max() <= 127
    assert a.scale.min() >= 1
    assert a.scale.max() <= 8191
    for m in range(len(x)):
        unit = Fraction(2) ** (int(a.exponent[m]) + fraction)
        for k, value in enumerate(values(a, m, fraction)[:columns]):
            bound = unit * (int(a.scale[m, k // BLOCK]) * Fraction(532, 1000) + Fraction(1, 2))
            assert abs(value - int(x[m, k])) <= bound
    assert not a.codes[:, columns:].any()


@given(st.integers(0, 2**32), st.integers(1, 70))
def test_blocks_fill_their_codes(seed: int, columns: int) -> None:
    """The largest of a row that is not small has a code of at least 126, so that no bit is given away."""
    x = rows(seed, columns, LIMIT)
    x[:, 0] = LIMIT
    assert np.abs(quantize(x, 16).codes.astype(int)).max(axis=1).min() >= 126


@given(st.integers(0, 2**32), st.integers(0, 30))
def test_powers_of_two_change_the_exponent_alone(seed: int, power: int) -> None:
    x = rows(seed, 64, LIMIT)
    a, b = quantize(x, 20), quantize(x << power, 20)
    large = np.abs(x).max(axis=1) > 0
    np.testing.assert_array_equal(a.codes, b.codes)
    np.testing.assert_array_equal(a.scale, b.scale)
    np.testing.assert_array_equal(a.exponent[large] + power, b.exponent[large])


@pytest.mark.parametrize("most", [1, 127, LARGEST - 1, LARGEST, LARGEST + 1, (1 << 20) - 1, 1 << 20, LIMIT, WIDE])
def test_extremes_stay_in_range(most: int) -> None:
    x = np.array([[most] * 40, [-most] * 40, [0] * 39 + [-most], [most, -most] * 20])
    a = quantize(x, 16)
    assert int(np.abs(a.codes.astype(int)).max()) <= 127
    assert int(a.scale.max()) <= 8191
    # The products of the kernels' 32-bit arithmetic, in Python integers.
    for scale in (1, int(a.scale.max()), 8191):
        reciprocal = ((1 << 24) + (scale >> 1)) // scale
        assert 127 * scale * reciprocal + (1 << 23) < 1 << 31
        assert (127 * scale * reciprocal + (1 << 23)) >> 24 == 127


def test_a_row_of_zeros() -> None:
    a = quantize(np.zeros((1, 33), np.int64), 16)
    assert not a.codes.any()
    assert a.scale.tolist() == [[1, 1]]
    assert a.exponent.tolist() == [-16]
    sums, exponent = block_sums(a, 32)
    assert not sums.any()
    assert exponent.tolist() == [0]


@given(st.integers(0, 2**32), st.integers(1, 200), st.sampled_from([16, 32]))
def test_block_sums_are_rounded_once(seed: int, columns: int, block: int) -> None:
    a = quantize(rows(seed, columns, LIMIT), 16)
    sums, exponent = block_sums(a, block)
    for m in range(len(sums)):
        step = 1 << int(exponent[m])
        for b, got in enumerate(sums[m]):
            codes = a.codes[m, b * block : (b + 1) * block]
            exact = sum(int(c) for c in codes) * int(a.scale[m, b * block // BLOCK])
            assert abs(exact) < 1 << 25
            assert (exact + step // 2) // step == got
        assert np.abs(sums[m].astype(int)).max() <= LARGEST_SUM
        assert exponent[m] == 0 or np.abs(sums[m].astype(int)).max() >= LARGEST_SUM // 2
