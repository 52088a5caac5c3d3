"""Codecs of the KV cache: rotations keep products, codes are the nearest of their grid, and each is what it says."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.numerics.attention import Heads, quantize_keys, quantize_values
from intact.numerics.kv_codecs import CODECS, KvCodec
from intact.numerics.kv_codecs.definition import (
    KEY_UNIT,
    STEPS,
    VALUE_UNIT,
    narrow,
    rotate_kept,
    rotate_query,
    rotation_block,
    widen,
)
from support.examples import examples

WIDTHS = (8, 24, 40, 64, 80, 96, 128, 256, 512)


def sylvester(size: int) -> np.ndarray:
    h = np.ones((1, 1), np.int64)
    while len(h) < size:
        h = np.block([[h, h], [h, -h]])
    return h


@pytest.mark.parametrize("width", WIDTHS)
def test_rotated_queries_and_keys_have_the_products_of_plain_ones(width: int) -> None:
    rng = np.random.default_rng(width)
    q, k = (np.rint(rng.normal(0, 1 << 18, (5, width))).astype(np.int64) for _ in range(2))
    exact = (q * k).sum(axis=-1).astype(float)
    turned = (rotate_query(q) * rotate_kept(k)).sum(axis=-1).astype(float)
    assert np.abs(turned - exact).max() < 1e-4 * (1 << 36) * width**0.5
    back = rotate_query(rotate_kept(k))
    assert np.abs(back - k).max() <= 1 + 2 * rotation_block(width) ** 0.5


def test_a_rotation_is_the_matrix_over_the_root_of_its_size() -> None:
    x = np.rint(np.random.default_rng(1).normal(0, 1 << 20, (3, 96))).astype(np.int64)
    exact = (x.reshape(3, 3, 32) @ sylvester(32)).reshape(3, 96)
    for rotated, bits in ((rotate_kept(x), 3), (rotate_query(x), 2)):
        rounded = [(Fraction(int(v), 1 << bits) + Fraction(1, 2)).__floor__() for v in exact.ravel()]
        assert rotated.ravel().tolist() == rounded


def test_the_largest_rows_saturate() -> None:
    x = np.full((1, 256), (1 << 31) - 1, np.int64)
    for rotate in (rotate_kept, rotate_query):
        assert rotate(x)[0, 0] == (1 << 31) - 1
        assert rotate(-x)[0, 0] == 1 - (1 << 31)
        assert not rotate(x)[0, 1:].any()


def heads(rng: np.random.Generator, width: int, unit: int) -> Heads:
    x = np.rint(rng.normal(0, 2.0 ** rng.integers(0, 30), (7, width)))
    x[rng.random(x.shape) < rng.choice([0, 0.9])] = 0
    x = np.clip(x, 1 - 2.0**31, 2.0**31 - 1).astype(np.int64)
    return quantize_keys(x) if unit == KEY_UNIT else quantize_values(x)


@given(st.sampled_from(WIDTHS), st.sampled_from((KEY_UNIT, VALUE_UNIT)), st.integers(0, 2**32))
@examples(60)
def test_four_bits_take_the_step_of_the_least_error(width: int, unit: int, seed: int) -> None:
    """Python's integers, by search among all codes."""
    plain = heads(np.random.default_rng(seed), width, unit)
    coded = narrow(plain, 4, unit)
    for codes, scale, found, found_scale in zip(
        plain.codes.tolist(), plain.scale.tolist(), coded.codes.tolist(), coded.scale.tolist(), strict=True
    ):
        tried = []
        for n in STEPS:
            levels = [(2 * q + 1) * n * unit for q in range(-8, 8)]  # of twice the code
            errors = [[(2 * y - level) ** 2 for level in levels] for y in codes]
            tried.append((sum(map(min, errors)), n, errors))
        least, n, errors = min(tried, key=lambda one: one[0])
        assert sum(errors[i][q + 8] for i, q in enumerate(found)) == least
        assert found_scale == max(1, (scale * n + 8) >> 4)
    assert coded.codes.min() >= -8
    assert coded.codes.max() <= 7


@given(st.sampled_from(WIDTHS), st.integers(0, 2**32))
@examples(40)
def test_eight_bits_are_the_nearest(width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    keys, values = heads(rng, width, KEY_UNIT), heads(rng, width, VALUE_UNIT)
    coded = narrow(keys, 8, KEY_UNIT)
    assert np.array_equal(coded.scale, keys.scale)
    assert np.abs(widen(coded.codes, 8, KEY_UNIT) - keys.codes).max() <= 15
    assert (np.abs(widen(coded.codes, 8, KEY_UNIT) - keys.codes)[np.abs(keys.codes) < 2040] <= 8).all()
    assert all(np.array_equal(a, b) for a, b in zip(narrow(values, 8, VALUE_UNIT), values, strict=True))


@pytest.mark.parametrize("bits", [8, 4])
def test_what_attention_reads_stays_within_its_bounds(bits: int) -> None:
    """Codes of at most 2,047 and 127, scales below 2^31, and a product of both at most 1/254 larger than without."""
    x = np.array([[(1 << 31) - 1, -(1 << 31) + 1, 5, 0] * 6], np.int64)
    for unit, most, quantize in ((KEY_UNIT, 2047, quantize_keys), (VALUE_UNIT, 127, quantize_values)):
        plain = quantize(x)
        coded = narrow(plain, bits, unit)
        read = widen(coded.codes, bits, unit)
        assert np.abs(read).max() <= most
        assert 1 <= coded.scale.max() < 1 << 31
        assert 254 * np.abs(read).max() * coded.scale.max() <= 255 * most * plain.scale.max()


def test_zeros_stay_as_small_as_a_number_can_be() -> None:
    for unit, quantize in ((KEY_UNIT, quantize_keys), (VALUE_UNIT, quantize_values)):
        coded = narrow(quantize(np.zeros((1, 16), np.int64)), 4, unit)
        assert coded.scale.tolist() == [1]
        assert (widen(coded.codes, 4, unit) == 8 * unit).all()


def test_codecs_have_the_names_of_their_entries_and_the_sizes_of_their_bits() -> None:
    assert [codec.name for codec in CODECS.values()] == list(CODECS)
    plain = 3 * 128 + 8
    assert {name: plain / codec.position_bytes(128) for name, codec in CODECS.items()} == {
        "int4": plain / 136,
        "int8": plain / 264,
        "int84": plain / 200,
    }
    assert CODECS["int4"].position_bytes(24) == 32 + 8
    assert [CODECS["int4"].holds(width) for width in (8, 20, 24, 4)] == [True, False, True, False]


def test_a_codec_of_other_bits_is_refused() -> None:
    with pytest.raises(ValueError, match="bits must be 8 or 4, got 8 and 3"):
        KvCodec("odd", "", 8, 3)
