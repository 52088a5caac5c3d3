"""Quantisation and the matrix product of every tier equal the reference bit for bit, up to the bounds of their sums."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from intact._native import kernels
from intact.numerics import activations, weights
from intact.numerics.activations import Quantized, block_sums
from intact.numerics.fixed import LIMIT, bitlen, rshift, sat32
from intact.numerics.integers import entries_of, shift_of
from intact.numerics.matmul import matmul
from intact.numerics.weight_formats import BLOCK_FORMATS
from intact.numerics.weights import BlockWeight
from support.examples import examples
from support.panels import panels_by_the_plan

pytestmark = pytest.mark.native

TIERS = kernels.tiers()
# Bits, block, zero and largest entry of a table (0: none) of what quantisers make beside those of sources.
LAYOUTS = {
    "4-16": (4, 16, 8, 0), "6-32": (6, 32, 32, 0), "3-32": (3, 32, 4, 0), "4-16 table": (4, 16, 128, 255),
    "4-32 one-sided": (4, 32, 0, 255), "2-32 table": (2, 32, 128, 255), "2-16 table": (2, 16, 2, 4),
    "5-16 table": (5, 16, 100, 200), "6-32 table": (6, 32, 60, 120), "8-16 table": (8, 16, 128, 255),
    "3-16 wide": (3, 16, 448, 896), "4-32 wide": (4, 32, 0, 256), "5-32 wide": (5, 32, 225, 450),
    "6-32 wide": (6, 32, 448, 896), "8-32 wide": (8, 32, 1984, 3968), "8-16 wide": (8, 16, 16384, 32767),
}  # fmt: skip
# Kinds of weights: each integer form that a source can become, under the name of one of its sources, and these.
KINDS = (
    *LAYOUTS,
    "Q4_0",
    "Q4_1",
    "Q5_0",
    "Q5_1",
    "Q8_0",
    "Q2_K",
    "Q3_K",
    "Q6_K",
    "IQ4_NL",
    "MXFP4",
    "TQ2_0",
    "IQ2_XXS",
    "IQ2_XS",
)
MOST = activations.LARGEST  # 127 * 8191: a code of 127 under the largest scale
WIDEST = 32768


@functools.cache
def form(kind: str) -> BlockWeight:
    """A small weight of that kind, for its form."""
    if kind in LAYOUTS:
        bits, block, zero, most = LAYOUTS[kind]
        table = np.round(np.linspace(0, most, entries_of(bits))).astype(np.int16) if most else None
        if table is not None and bits < 4:
            table = np.r_[np.round(np.linspace(0, most, 1 << bits)), np.full(16 - (1 << bits), zero)].astype(np.int16)
        like = weights.from_blocks("Q4_0", np.zeros(18, np.uint8), (1, 32))
        return like._replace(bits=bits, block=block, zero=zero, shift=shift_of(bits, zero, table), table=table)
    spec = BLOCK_FORMATS[kind]
    return weights.from_blocks(kind, np.zeros(spec.size, np.uint8), (1, spec.values))


def random_weight(rng: np.random.Generator, kind: str, rows: int, columns: int, extreme: bool) -> BlockWeight:
    """Any codes, scales and minima; extreme ones are the largest and the smallest that exist."""
    like, padded = form(kind), -(-columns // 32) * 32
    shape = rows, padded // like.block

    def integers() -> NDArray[np.int16]:
        if extreme:
            return rng.choice(np.array([-32767, 32767], np.int16), shape)
        return np.clip(rng.normal(0, 2.0 ** rng.integers(0, 15), shape), -32767, 32767).astype(np.int16)

    codes = (
        rng.choice([0, (1 << like.bits) - 1], (rows, padded))
        if extreme
        else rng.integers(0, 1 << like.bits, (rows, padded))
    )
    least, most = rng.choice([-70, -28, -20]), rng.choice([-18, -4, 6])
    scale_exp, minimum_exp = rng.integers(least, most + 1, (2, rows)).astype(np.int32)
    minimum = None if like.minimum is None else integers()
    return like._replace(
        codes=codes.astype(np.uint8), scale=integers(), scale_exp=scale_exp, columns=columns,
        minimum=minimum, minimum_exp=None if minimum is None else minimum_exp,
    )  # fmt: skip


def native_weight(w: BlockWeight) -> object:
    codes, scales, minima, scale_exp, minimum_exp = panels_by_the_plan(w)
    form = len(w.codes), w.columns, w.bits, w.block, w.zero, w.shift, w.table
    return kernels.weight(*form, codes, scales, minima, scale_exp, minimum_exp)


def random_rows(rng: np.random.Generator, rows: int, columns: int, limit: int) -> NDArray[np.int64]:
    """Rows of quite different sizes, with blocks that are small, zeros, rows of zeros and single values among them."""
    size = 2.0 ** (
        rng.uniform(0, np.log2(limit), (rows, 1))
        + rng.choice([0, 0, -3, -9], (rows, -(-columns // 32))).repeat(32, axis=1)[:, :columns]
    )
    x = np.clip(np.rint(rng.normal(0, 1, (rows, columns)) * size), -limit, limit).astype(np.int64)
    x[rng.random((rows, columns)) < 0.05] = 0
    x[rng.random(rows) < 0.05] = 0
    single = rng.random(rows) < 0.05
    x[single] = 0
    x[single, 0] = rng.choice([-limit, -1, 1, limit])
    return x


def assert_rows(native: object, expected: Quantized) -> None:
    np.testing.assert_array_equal(native.codes, expected.codes)
    np.testing.assert_array_equal(native.scale, expected.scale)
    np.testing.assert_array_equal(native.exponent, expected.exponent)
    np.testing.assert_array_equal(native.sums, expected.codes.reshape(len(expected.codes), -1, 16).sum(axis=2))
    for block in (32, 16):
        sums, exponent = block_sums(expected, block)
        padded = np.pad(sums, ((0, 0), (0, -sums.shape[1] % (64 // block))))
        np.testing.assert_array_equal(getattr(native, f"minima{block}"), padded)
        np.testing.assert_array_equal(getattr(native, f"minima{block}_exp"), exponent)


@pytest.mark.parametrize("tier", TIERS)
@given(
    st.integers(1, 5), st.integers(1, 200) | st.sampled_from([2048, 4864]), st.integers(-4, 30), st.integers(0, 2**32)
)
@examples(60)
def test_rows_are_quantised_as_in_the_reference(tier: str, rows: int, columns: int, fraction: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    narrow = random_rows(rng, rows, columns, LIMIT)
    assert_rows(kernels.quantize(tier, narrow.astype(np.int32), fraction), activations.quantize(narrow, fraction))
    wide = random_rows(rng, rows, columns, (1 << 62) - 1)
    assert_rows(kernels.quantize_wide(tier, wide), activations.quantize(wide, 20))


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(
    "most", [1, 126, 127, 128, MOST - 1, MOST, MOST + 1, (1 << 20) - 1, 1 << 20, MOST << 11, LIMIT - 1, LIMIT]
)
def test_rows_at_the_edges_of_their_exponent(tier: str, most: int) -> None:
    ramp = np.linspace(-most, most, 77).astype(np.int64)
    x = np.stack(
        [np.full(77, most), np.full(77, -most), ramp, np.where(np.arange(77) % 2, most, -most), np.arange(77) == 40]
    )
    x[4] *= most
    assert_rows(kernels.quantize(tier, x.astype(np.int32), 16), activations.quantize(x, 16))
    wide = x << 30
    assert_rows(kernels.quantize_wide(tier, wide), activations.quantize(wide, 20))


@pytest.mark.parametrize("tier", TIERS)
def test_block_sums_at_the_edges_of_their_exponent(tier: str) -> None:
    """Among so many rows some have a largest sum that rounds to 8,191, and some to 8,192."""
    x = np.random.default_rng(1).integers(-(1 << 18), 1 << 20, (50_000, 32))
    expected = activations.quantize(x, 16)
    assert_rows(kernels.quantize(tier, x.astype(np.int32), 16), expected)
    sums = expected.codes.astype(np.int64).sum(axis=1) * expected.scale[:, 0]
    rounded = rshift(np.abs(sums), np.maximum(bitlen(np.abs(sums)) - 13, 0))
    assert {8191, 8192} <= set(rounded.tolist())


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("kind", KINDS)
@given(
    st.integers(1, 70), st.integers(1, 51), st.integers(1, 330) | st.sampled_from([576, 896]), st.booleans(),
    st.integers(0, 2**32),
)  # fmt: skip
@examples(14)
def test_products_equal_the_reference(
    tier: str, kind: str, rows: int, outputs: int, columns: int, extreme: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    w = random_weight(rng, kind, outputs, columns, extreme)
    x = random_rows(rng, rows, columns, 1 << int(rng.integers(1, 31)))
    a, native = activations.quantize(x, 16), native_weight(w)
    quantized = kernels.quantize(tier, x.astype(np.int32), 16)
    bias = rng.integers(-(1 << 34), 1 << 34, outputs) if seed % 2 else None
    added = 0 if bias is None else bias

    narrow = np.zeros((rows, outputs), np.int32)
    kernels.matmul(tier, native, quantized, narrow, 16, bias)
    np.testing.assert_array_equal(narrow, sat32(matmul(a, w, 16) + added))

    # Wide, with an output for each column of a larger array; what lies beyond stays.
    product = matmul(a, w, 20) + added
    before = rng.integers(-(1 << 40), 1 << 40, (rows, outputs + 3))
    for accumulate in (False, True):
        wide = before.copy()
        kernels.matmul_wide(tier, native, quantized, wide, 20, accumulate, bias)
        np.testing.assert_array_equal(wide[:, :outputs], product + accumulate * before[:, :outputs])
        np.testing.assert_array_equal(wide[:, outputs:], before[:, outputs:])


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(
    ("kind", "columns"),
    [("Q4_1", 4864), ("Q6_K", 4864), ("Q8_0", 1536), ("Q2_K", 1536), ("MXFP4", 2880), ("6-32 wide", 1536)],
)
def test_products_of_the_widths_of_models(tier: str, kind: str, columns: int) -> None:
    rng = np.random.default_rng(columns)
    w, x = random_weight(rng, kind, 35, columns, False), random_rows(rng, 9, columns, 1 << 28)
    out = np.zeros((9, 35), np.int64)
    kernels.matmul_wide(tier, native_weight(w), kernels.quantize_wide(tier, x), out)
    np.testing.assert_array_equal(out, matmul(activations.quantize(x, 20), w, 20))


@pytest.mark.parametrize("tier", TIERS)
@given(st.integers(1, 200), st.integers(1, 120), st.integers(0, 2**32))
@examples(20)
def test_any_part_of_a_product_is_the_same(tier: str, rows: int, outputs: int, seed: int) -> None:
    """Rows and panels may be split at will, and what lies outside the part stays."""
    rng = np.random.default_rng(seed)
    w, x = (
        random_weight(rng, str(rng.choice(KINDS)), outputs, 70, False),
        random_rows(rng, rows, 70, 1 << 20).astype(np.int32),
    )
    native, quantized, panels = native_weight(w), kernels.quantize(tier, x, 16), -(-outputs // 16)
    whole, part = np.zeros((2, rows, outputs), np.int32)
    kernels.matmul(tier, native, quantized, whole, 16)
    row0, row1 = sorted(rng.integers(0, rows + 1, 2).tolist())
    panel0, panel1 = sorted(rng.integers(0, panels + 1, 2).tolist())
    kernels.matmul(tier, native, quantized, part, 16, None, (row0, row1), (panel0, panel1))
    inside = np.zeros((rows, outputs), bool)
    inside[row0:row1, panel0 * 16 : panel1 * 16] = True
    np.testing.assert_array_equal(part, np.where(inside, whole, 0))


@functools.cache
def largest_sums(kind: str, stored: bool) -> tuple[BlockWeight, NDArray[np.int64], NDArray[np.int64]]:
    """Weights and rows whose every term is as large as can be, and of one sign, over the widest row; the products.

    As large as can be is a weight or, if `stored`, its code as it stands in memory: then in two of four places, for
    what two halves of a sum carry too much may not show.
    """
    like = form(kind)
    table = np.arange(1 << like.bits) if like.table is None else like.table.astype(np.int64)
    code = int((table if stored else np.abs(table - like.zero)).argmax())
    sign = np.sign(table[code] - like.zero)
    scale = np.full((3, WIDEST // like.block), 32767, np.int16) * np.array([[1], [-1], [1]], np.int16)
    scale[2, 1::2] *= -1
    ones = np.ones(3, np.int32)
    four = [code] * 2 + [0 if stored else code] * 2
    w = like._replace(
        codes=np.tile(np.array(four, np.uint8), (3, WIDEST // 4)), scale=scale, scale_exp=-27 * ones, columns=WIDEST,
        minimum=None if like.minimum is None else scale * np.int16(sign),
        minimum_exp=None if like.minimum is None else -16 * ones,
    )  # fmt: skip
    x = np.full((3, WIDEST), MOST) * np.array([[1], [-1], [1]])
    x[2].reshape(-1, like.block)[1::2] *= -1
    return w, x, matmul(activations.quantize(x, 16), w, 20)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stored", [False, True])
def test_the_largest_sums_do_not_overflow(tier: str, kind: str, stored: bool) -> None:
    w, x, expected = largest_sums(kind, stored)
    out = np.zeros(expected.shape, np.int64)
    kernels.matmul_wide(tier, native_weight(w), kernels.quantize(tier, x.astype(np.int32), 16), out)
    np.testing.assert_array_equal(out, expected)


def test_a_row_beyond_the_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="32768"):
        kernels.quantize("scalar", np.zeros((1, WIDEST + 1), np.int32), 16)
