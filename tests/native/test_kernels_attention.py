"""Attention of every tier equals the reference bit for bit, on pages of any size."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from intact._native import kernels
from intact.numerics import attention
from intact.numerics.fixed import LIMIT
from intact.numerics.soft_cap import SoftCap, score_cap
from support.examples import examples

pytestmark = pytest.mark.native

TIERS = kernels.tiers()
PAGES = (16, 32, 48, 512)


def random_heads(rng: np.random.Generator, count: int, width: int, bits: int) -> NDArray[np.int32]:
    """Vectors of different sizes up to 2^bits, with zeros and saturated values among them."""
    size = 2.0 ** rng.uniform(max(0, bits - 6), bits, (count, 1))
    x = np.rint(np.clip(rng.normal(0, 1, (count, width)) * size, -LIMIT, LIMIT)).astype(np.int32)
    x[rng.random(count) < 0.03] = 0
    if bits == 31:
        x[rng.random((count, width)) < 0.3] = LIMIT
    return x


def assert_attends(
    tier: str, page: int, queries: NDArray[np.int32], keys: NDArray[np.int32], values: NDArray[np.int32],
    first: NDArray[np.int64], last: NDArray[np.int64], scale: attention.Scale, cap: SoftCap | None = None,
    sink: int | None = None,
) -> None:  # fmt: skip
    cache = kernels.Cache(keys.shape[1], page)
    for position, (key, value) in enumerate(zip(keys, values, strict=True)):
        cache.append(tier, key, value, position)
    got = cache.attend(tier, queries, first, last, *scale, cap=tuple(cap or (0, 0)), sink=sink)
    key_codes, value_codes = attention.quantize_keys(keys), attention.quantize_values(values)
    for i, query in enumerate(queries):
        seen = slice(first[i], last[i] + 1)
        expected = attention.attend(
            attention.quantize_query(query, scale),
            attention.Heads(key_codes.codes[seen], key_codes.scale[seen]),
            attention.Heads(value_codes.codes[seen], value_codes.scale[seen]),
            cap,
            sink,
        )
        np.testing.assert_array_equal(got[i], expected)


@pytest.mark.parametrize("tier", TIERS)
@given(
    st.integers(1, 140) | st.just(256),
    st.integers(1, 130),
    st.sampled_from(PAGES),
    st.integers(1, 9) | st.integers(10, 40),
    st.integers(0, 2**32),
)
@examples(70)
def test_attention_equals_the_reference(
    tier: str, width: int, positions: int, page: int, count: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    queries, keys, values = (
        random_heads(rng, n, width, int(rng.choice([2, 12, 18, 20, 31]))) for n in (count, positions, positions)
    )
    window = int(rng.integers(1, positions + 1))
    last = np.sort(rng.integers(0, positions, count))
    first = np.maximum(0, last - window + 1)
    factor = Fraction(int(rng.integers(1, 1000)), int(rng.choice([1000, 10**6, 1])))
    cap = score_cap(Fraction(int(rng.integers(2, 100)), 2)) if seed % 3 == 0 else None
    assert_attends(tier, page, queries, keys, values, first, last, attention.score_scale(factor), cap)


@pytest.mark.parametrize("tier", TIERS)
@given(st.integers(1, 40), st.integers(1, 90), st.integers(1, 30), st.integers(-5, 40), st.integers(0, 2**32))
@examples(70)
def test_attention_with_sinks_equals_the_reference(
    tier: str, width: int, positions: int, count: int, above: int, seed: int
) -> None:
    """Sinks below the best score, above it by some powers of two, and so far that no position has a share."""
    rng = np.random.default_rng(seed)
    bits = int(rng.choice([2, 12, 18, 31]))
    queries, keys, values = (random_heads(rng, n, width, bits) for n in (count, positions, positions))
    last = np.sort(rng.integers(0, positions, count))
    scale = attention.score_scale(Fraction(int(rng.integers(1, 1000)), 1000))
    best = attention.scores(attention.quantize_query(queries[0], scale), attention.quantize_keys(keys)).max()
    sink = int(np.clip(best + above * 65536 + rng.integers(-65536, 65536), -LIMIT, LIMIT))
    assert_attends(tier, 16, queries, keys, values, np.zeros(count, np.int64), last, scale, sink=sink)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(
    ("mantissa", "exponent"), [(1 << 30, 0), ((1 << 31) - 1, 20), (1 << 30, 110), ((1 << 31) - 1, 63), (1 << 30, 90)]
)
def test_scores_of_any_scale(tier: str, mantissa: int, exponent: int) -> None:
    """Shifts to the left, of 62, of 63 and beyond; scores that saturate."""
    rng = np.random.default_rng(exponent)
    queries, keys, values = (random_heads(rng, n, 24, bits) for n, bits in ((6, 31), (40, 31), (40, 20)))
    queries[1], queries[2], keys[5], keys[6] = 1, -LIMIT, LIMIT, -LIMIT
    last = np.array([0, 10, 20, 39, 39, 7])
    assert_attends(tier, 16, queries, keys, values, np.zeros(6, np.int64), last, attention.Scale(mantissa, exponent))


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("begin", [0, 16, 77])
def test_a_long_context_of_the_largest_weights_and_values(tier: str, sign: int, begin: int) -> None:
    """All weights are 4,095 and all codes 127 over more than 8,192 positions: a sum of 4,096 nearly fills 32 bits."""
    positions = 8300
    keys = np.zeros((positions, 8), np.int32)
    values = np.full((positions, 8), sign * (127 * 4095 // 64), np.int32)
    assert attention.quantize_values(values[0]).scale == 4095
    for count in (2, 20):
        queries, last = np.ones((count, 8), np.int32), np.array([positions - 1, positions - 30] * (count // 2))
        assert_attends(tier, 32, queries, keys, values, np.full(count, begin), last, attention.score_scale(Fraction(1)))


@pytest.mark.parametrize("tier", TIERS)
def test_the_largest_scores_do_not_overflow(tier: str) -> None:
    """512 products of 2,047 by 2,047."""
    keys = np.full((20, 512), LIMIT, np.int32) * np.array([[1], [-1]] * 10, np.int32)
    values = random_heads(np.random.default_rng(1), 20, 512, 20)
    for count in (2, 20):
        last = np.array([19, 18] * (count // 2))
        for scale in (attention.score_scale(Fraction(1, 22)), attention.Scale((1 << 31) - 1, 70)):
            assert_attends(tier, 16, keys[:count], keys, values, np.zeros(count, np.int64), last, scale)


@pytest.mark.parametrize("tier", TIERS)
def test_a_long_context_with_a_window(tier: str) -> None:
    rng = np.random.default_rng(3)
    keys, values = (random_heads(rng, 4500, 16, 18) for _ in range(2))
    last = np.array([4499, 4400, 513, 511, 0])
    assert_attends(
        tier, 48, random_heads(rng, 5, 16, 18), keys, values, np.maximum(0, last - 4200), last,
        attention.score_scale(Fraction(1, 4)),
    )  # fmt: skip


@pytest.mark.parametrize("tier", TIERS)
def test_pages_and_tiles_do_not_change_the_bits(tier: str) -> None:
    """Queries alone or together, on pages of any size, beside positions that they don't see."""
    rng = np.random.default_rng(4)
    keys, values, queries = (
        random_heads(rng, 100, 20, 18),
        random_heads(rng, 100, 20, 20),
        random_heads(rng, 24, 20, 18),
    )
    first, last = np.tile([0, 0, 5, 17, 40, 40, 41, 90], 3), np.tile([0, 50, 50, 50, 99, 98, 64, 90], 3)
    scale = attention.score_scale(Fraction(1, 5))
    results = []
    for page in PAGES:
        cache = kernels.Cache(20, page)
        for position in range(100):
            cache.append(tier, keys[position], values[position], position)
        results.append(cache.attend(tier, queries, first, last, *scale))
        alone = [
            cache.attend(tier, queries[i : i + 1], first[i : i + 1], last[i : i + 1], *scale)[0] for i in range(24)
        ]
        results.append(np.stack(alone))
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])
