"""Attention in integers beside a float64 softmax, and the bounds of its sums."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from intact.numerics import attention
from intact.numerics.fixed import LIMIT
from intact.numerics.functions import LOG2E


def heads(rng: np.random.Generator, shape: tuple[int, ...], bits: float) -> NDArray[np.int64]:
    return np.rint(np.clip(rng.normal(0, 2.0**bits, shape), -LIMIT, LIMIT)).astype(np.int64)


@given(st.integers(1, 100), st.floats(0, 31), st.integers(0, 2**32))
def test_keys_and_values_err_by_half_a_step(width: int, bits: float, seed: int) -> None:
    x = heads(np.random.default_rng(seed), (3, width), bits)
    for quantize, most, fraction in (
        (attention.quantize_keys, 2047, attention.KEY_BITS),
        (attention.quantize_values, 127, attention.VALUE_BITS),
    ):
        codes, scale = quantize(x)
        assert np.abs(codes).max() <= most
        assert scale.min() >= 1
        assert scale.max() < 1 << 31
        step = scale[:, None] / 2**fraction
        assert (np.abs(codes * step - x) <= 0.5001 * step).all()


@given(st.integers(1, 100), st.floats(0, 31), st.integers(0, 2**32))
def test_queries_err_by_half_a_step(width: int, bits: float, seed: int) -> None:
    x = heads(np.random.default_rng(seed), (width,), bits)
    scale = attention.score_scale(Fraction(1, 8))
    codes, mantissa, drop = attention.quantize_query(x, scale)
    assert np.abs(codes).max() <= 2047
    amax = int(np.abs(x).max())
    assert (np.abs(codes * amax / 2047 - x) <= 0.5001 * amax / 2047).all()
    assert mantissa <= 1 << 15
    # A product of codes times mantissa, shifted by 15 and by drop with a key's scale of 2^-24: Q16 base-2 units.
    exact = amax / 65536 * float(Fraction(1, 8)) * LOG2E / 2**30 / 2047
    assert abs(float(mantissa) * 2.0 ** -(15.0 + drop) * 2.0**8 - exact) <= 2.0**-13 * exact


@pytest.mark.parametrize(
    "factor", [Fraction(1, 8), Fraction(1, 1), Fraction(1, 16), Fraction(10**6), Fraction(1, 10**9)]
)
def test_the_scale_has_31_bits(factor: Fraction) -> None:
    scale = attention.score_scale(factor)
    assert 1 << 30 <= scale.mantissa < 1 << 31
    exact = factor * Fraction(LOG2E, 1 << 30) / 2047
    assert abs(Fraction(scale.mantissa) / Fraction(2) ** scale.exponent / exact - 1) < Fraction(1, 1 << 30)


@given(st.integers(1, 200), st.sampled_from([16, 64, 128]), st.floats(0.1, 8), st.integers(0, 2**32))
def test_attention_is_close_to_a_softmax(positions: int, width: int, sharpness: float, seed: int) -> None:
    """Within the steps of values (8 bits) and weights (12 bits), and what 12-bit queries and keys move the scores."""
    rng = np.random.default_rng(seed)
    query, keys, values = (rng.normal(0, 1, shape) for shape in (width, (positions, width), (positions, width)))
    query *= sharpness
    q, k, v = (np.rint(x * 65536).astype(np.int64) for x in (query, keys, values))
    scale = attention.score_scale(Fraction(1, round(width**0.5)))
    got = attention.attend(attention.quantize_query(q, scale), attention.quantize_keys(k), attention.quantize_values(v))
    score = k / 65536 @ (q / 65536) / round(width**0.5)
    weight = np.exp(score - score.max())
    expected = weight / weight.sum() @ (v / 65536)
    # A score moves by about |q| |k| / 2047 / sqrt(12), whatever the width.
    moved = 6 * sharpness / 2047 * width**0.5
    assert np.abs(got / 65536 - expected).max() < np.abs(values).max() * (
        0.5 / 127 + 2 / 4096 * min(positions, 8) + moved
    )


def test_a_sink_takes_its_share_of_the_softmax() -> None:
    rng = np.random.default_rng(7)
    query, keys, values = (rng.normal(0, 1, shape) for shape in (32, (40, 32), (40, 32)))
    q, k, v = (np.rint(x * 65536).astype(np.int64) for x in (query, keys, values))
    scale = attention.score_scale(Fraction(1, 4))
    parts = attention.quantize_query(q, scale), attention.quantize_keys(k), attention.quantize_values(v)
    score = k / 65536 @ (q / 65536) / 4
    for sink in (-30.0, 0.0, 1.5, 6.0, 40.0):
        (integer,) = attention.sink_scores(np.array([sink], np.float32)).tolist()
        assert integer == round(sink * np.log2(np.e) * 65536)
        weight = np.exp(score - max(score.max(), sink))
        expected = weight / (weight.sum() + np.exp(sink - max(score.max(), sink))) @ (v / 65536)
        assert np.abs(attention.attend(*parts, sink=integer) / 65536 - expected).max() < 0.02
    assert not attention.attend(*parts, sink=LIMIT).any()
    assert np.array_equal(attention.attend(*parts, sink=-LIMIT), attention.attend(*parts))
    assert attention.sink_scores(np.array([1e30, -1e30, 0.5 / 94548], np.float32)).tolist() == [LIMIT, -LIMIT, 1]


def test_one_position_gives_its_value() -> None:
    x = np.array([[65536, -32768, 127, 0]])
    scale = attention.score_scale(Fraction(1, 2))
    got = attention.attend(
        attention.quantize_query(x[0], scale), attention.quantize_keys(x), attention.quantize_values(x)
    )
    codes, step = attention.quantize_values(x)
    assert np.abs(got - codes[0] * step[0] / 64).max() <= np.abs(got).max() / 2000


def test_equal_positions_count_equally() -> None:
    keys, values = np.full((1000, 8), 5000), np.full((1000, 8), -123456)
    scale = attention.score_scale(Fraction(1, 3))
    query = attention.quantize_query(np.full(8, 70000), scale)
    one = attention.attend(query, attention.quantize_keys(keys[:1]), attention.quantize_values(values[:1]))
    all_ = attention.attend(query, attention.quantize_keys(keys), attention.quantize_values(values))
    assert np.abs(one - all_).max() <= 40


def test_the_bounds_of_the_sums() -> None:
    """In Python integers, at the extremes: codes of 512 elements, scores, weights times values over 2^20 positions."""
    assert LIMIT >= 512 * 2047 * 2047
    scale = int(attention.quantize_keys(np.full((1, 2), LIMIT)).scale[0])
    assert ((512 * 2047 * 2047 * (1 << 15) + (1 << 14)) >> 15) * scale < 1 << 62
    # Right shifts are of up to 62 bits.
    assert ((512 * 2047 * 2047 * (1 << 15) + (1 << 14)) >> 15) * scale + (1 << 61) < 1 << 63
    assert LIMIT >= 4096 * 4095 * 127  # what a 32-bit sum takes before it is added to one of 64
    largest_value = int(attention.quantize_values(np.full((1, 2), LIMIT)).scale[0])
    assert (1 << 30) * largest_value < 1 << 62
    for bits, fewer in product(range(32), range(32)):  # value scales that fill their bits; a sink that lies above
        e = (1 << 30) >> fewer
        t = e * min((1 << bits) - 1 or 1, largest_value)
        h = max(t.bit_length() - 12, 0)
        weight = min((t + (1 << h >> 1)) >> h, 4095)
        for power in range(20 if fewer else 21):  # no context has more than 2^19 positions
            mass = (1 << power) * e + (1 << 30 if fewer else 0)
            s = mass.bit_length() - 23
            inverse = (1 << 46) // ((mass + (1 << s >> 1)) >> s)
            largest = (1 << power) * weight * 127 * inverse
            drop = 52 + s - h
            assert 1 <= drop <= 62
            assert largest + (1 << (drop - 1)) < 1 << 63


def test_saturated_scores_share_the_weight() -> None:
    """Scores beyond 2^15 saturate, so that positions far apart in truth become equals: defined, if not useful."""
    keys = np.array([[LIMIT] * 16, [LIMIT // 2] * 16, [-LIMIT] * 16])
    values = np.array([[65536] * 16, [0] * 16, [-65536] * 16])
    query = attention.quantize_query(np.full(16, LIMIT), attention.score_scale(Fraction(10**6)))
    score = attention.scores(query, attention.quantize_keys(keys))
    assert score.tolist() == [LIMIT, LIMIT, -LIMIT]
    got = attention.attend(query, attention.quantize_keys(keys), attention.quantize_values(values))
    assert np.abs(got - 32768).max() < 300
