"""Scales and minima that are products of factors take less memory, and no bit of a result changes."""

from __future__ import annotations

from math import gcd

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from intact import _native
from intact._native import kernels
from intact.numerics import activations
from intact.numerics.matmul import matmul
from intact.numerics.weights import BlockWeight
from support.examples import examples
from support.panels import panels_by_the_plan

pytestmark = pytest.mark.native

TIERS = kernels.tiers()
# bits, block, zero, shift, table, minima
FORMS = (
    (8, 32, 128, 4, False, False), (6, 16, 32, 2, False, False), (5, 32, 16, 1, False, True),
    (4, 32, 8, 0, False, False), (4, 32, 8, 0, False, True), (4, 32, 128, 4, True, False),
    (3, 16, 4, 0, False, True), (2, 32, 1, 0, False, False), (2, 16, 2, 0, False, True),
)  # fmt: skip
KINDS = ("any", "fine", "fine row", "pairs", "runs", "row", "powers", "zeros")


def numbers(rng: np.random.Generator, kind: str, rows: int, count: int, block: int) -> NDArray[np.int16]:
    """Return scales (rows, count) that have the structure of the kind's name."""
    group = 256 // block

    def repeat(each: int) -> NDArray[np.int64]:
        return rng.integers(-32767, 32768, (rows, -(-count // each))).repeat(each, axis=1)[:, :count]

    match kind:
        case "any":
            out = rng.integers(-32767, 32768, (rows, count))
        case "fine":
            out = rng.integers(-127, 128, (rows, count)) * (repeat(group) // 128)
        case "fine row":
            out = rng.integers(-128, 128, (rows, count)) * rng.integers(-255, 256, (rows, 1))
        case "pairs":
            out = repeat(2)
        case "runs":
            out = repeat(group)
        case "row":
            out = repeat(count)
        case "powers":
            out = np.full((rows, count), 1 << 14) >> rng.integers(0, 8, (rows, count))
        case _:
            out = np.zeros((rows, count))
    return out.astype(np.int16)


def factor(values: list[int]) -> int | None:
    """The factor that leaves an int8 of each value; None if there is none: every one is tried."""
    common = gcd(*values)
    for by in [1] if common == 0 else (d for d in range(common, 0, -1) if common % d == 0):
        for signed in (by, -by):
            if -32768 <= signed <= 32767 and all(-128 <= v // signed <= 127 for v in values):
                return signed
    return None


def smallest(x: NDArray[np.int16], block: int) -> tuple[int, int]:
    """Return (factors a block, inputs that share an int16) of the form of the fewest bytes, by trying all of them."""
    count = x.shape[1]
    columns, pairs = count * block, -(-count // 2)
    padded = np.pad(x, ((0, 0), (0, count % 2))).astype(np.int64)
    found = [(4 * pairs, 0, block)]
    span = 0
    while True:
        cut = [padded[:, at : at + (2 << span)] for at in range(0, 2 * pairs, 2 << span)]
        inputs = columns if len(cut) == 1 else 2 * block << span
        if all((part == part[:, :1]).all() for part in cut):
            found.append((2 * len(cut), 0, inputs))
        if (inputs in (256, columns)) and all(factor(row.tolist()) is not None for part in cut for row in part):
            found.append((2 * pairs + 2 * len(cut), 1, inputs))
        if len(cut) == 1:
            break
        span += 1
    return min(found)[1:]


def random_weight(
    rng: np.random.Generator, form: tuple, kinds: tuple[str, str], rows: int, columns: int
) -> BlockWeight:
    bits, block, zero, shift, tabled, minima = form
    padded = -(-columns // 32) * 32
    table = np.sort(rng.choice(256, 16, replace=False)).astype(np.int16) if tabled else None
    codes = rng.integers(0, 1 << bits, (rows, padded)).astype(np.uint8)
    scale, minimum = (numbers(rng, kind, rows, padded // block, block) for kind in kinds)
    scale_exp, minimum_exp = rng.integers(-28, -18, (2, rows)).astype(np.int32)
    return BlockWeight(
        codes, bits, block, zero, shift, table, scale, scale_exp,
        minimum if minima else None, minimum_exp if minima else None, columns,
    )  # fmt: skip


def packed(w: BlockWeight, threads: int = 1) -> _native.Weight:
    return _native.pack_integers(
        w.codes, w.columns, w.bits, w.block, w.zero, w.shift, w.table, w.scale, w.scale_exp, w.minimum, w.minimum_exp,
        threads,
    )  # fmt: skip


def plain(w: BlockWeight) -> _native.Weight:
    codes, scales, minima, scale_exp, minimum_exp = panels_by_the_plan(w)
    form = len(w.codes), w.columns, w.bits, w.block, w.zero, w.shift, w.table
    return kernels.weight(*form, codes, scales, minima, scale_exp, minimum_exp)


@given(
    st.sampled_from([16, 32]), st.sampled_from(KINDS), st.sampled_from(KINDS), st.integers(1, 37),
    st.integers(1, 900) | st.sampled_from([256, 512, 576, 1024]), st.integers(1, 3), st.integers(0, 2**32),
)  # fmt: skip
@examples(120)
def test_numbers_take_the_smallest_form_that_holds_them(
    block: int, kind: str, other: str, rows: int, columns: int, threads: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    w = random_weight(rng, (2, block, 1, 0, False, True), (kind, other), rows, columns)
    if rng.random() < 0.3:  # one number that has no part in the structure
        w.scale[rng.integers(rows), rng.integers(w.scale.shape[1])] = rng.integers(-32768, 32768)
    native = packed(w, threads)
    assert native.scale_form == smallest(w.scale, block)
    assert native.minimum_form == smallest(w.minimum, block)
    for name, got in zip(("codes", "scale", "scale_exp", "minimum", "minimum_exp"), native.unpack(), strict=True):
        np.testing.assert_array_equal(got, getattr(w, name), name)
    for got, wanted in zip(native.panels(), panels_by_the_plan(w), strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize(
    ("values", "holds"),
    [
        ([127, -128, 1], True), ([128, 1], True), ([128, -128, 1], False), ([129, 1], False), ([32767, 0], True),
        ([-32768, -16384], True), ([-32768, 0], True), ([254, -254, 2], True), ([16384, 128], True),
        ([16384, 64], False), ([1, 0], True), ([32767, 258], False),
    ],
)  # fmt: skip
def test_the_edges_of_a_factor(values: list[int], holds: bool) -> None:
    """128 times a factor is held where its negative takes it, and no number is beyond an int16."""
    w = random_weight(np.random.default_rng(0), (2, 32, 1, 0, False, False), ("any", "any"), 3, 256)
    w.scale[:] = np.resize(values, (3, 8))
    native = packed(w)
    assert (native.scale_form[0] == 1) == holds == (factor(values) is not None)
    np.testing.assert_array_equal(native.unpack()[1], w.scale)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(map(str, map(int, form))))
@given(
    st.sampled_from(KINDS), st.sampled_from(KINDS), st.integers(1, 40), st.integers(1, 51),
    st.integers(1, 900) | st.sampled_from([256, 512, 576, 1024]), st.integers(0, 2**32),
)  # fmt: skip
@examples(16)
def test_products_equal_those_of_plain_scales_and_the_reference(
    tier: str, form: tuple, kind: str, other: str, rows: int, outputs: int, columns: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    w = random_weight(rng, form, (kind, other), outputs, columns)
    x = np.rint(rng.normal(0, 1 << int(rng.integers(1, 28)), (rows, columns))).astype(np.int32)
    quantized = kernels.quantize(tier, x, 16)
    got, same, part = np.zeros((3, rows, outputs), np.int64)
    kernels.matmul_wide(tier, packed(w), quantized, got)
    kernels.matmul_wide(tier, plain(w), quantized, same)
    np.testing.assert_array_equal(got, same)
    np.testing.assert_array_equal(got, matmul(activations.quantize(x.astype(np.int64), 16), w, 20))
    row, panel, panels = rows // 2, -(-outputs // 16) // 2, -(-outputs // 16)
    for some in ((0, row), (row, rows)):
        for of in ((0, panel), (panel, panels)):
            kernels.matmul_wide(tier, packed(w), quantized, part, 20, False, None, some, of)
    np.testing.assert_array_equal(part, got)


@pytest.mark.parametrize(
    ("kind", "bits"),
    [("any", 0.5), ("fine", 0.3125), ("fine row", 0.25), ("pairs", 0.25), ("runs", 0.0625), ("row", 0)],
)
def test_memory_is_what_the_form_takes(kind: str, bits: float) -> None:
    """Bits a weight beside 4 bits of codes, to a line of the cache and an exponent for each row."""
    w = random_weight(np.random.default_rng(1), (4, 32, 8, 0, False, False), (kind, kind), 64, 4096)
    rows = 32 + (16 if kind in ("row", "fine row") else 0)
    assert packed(w).nbytes == pytest.approx(64 * 4096 * (4 + bits) / 8 + 64 * rows / 8, abs=64)
    assert plain(w).nbytes == 64 * 4096 * 4.5 / 8 + 64 * 4


def test_files_with_scales_of_large_blocks_take_less_memory() -> None:
    """A ternary GGUF file has one float16 for 256 weights, and powers of two lie close together."""
    rng = np.random.default_rng(2)
    blocks = rng.integers(0, 256, (32, 4, 66), np.uint8)
    blocks[..., 64:] = rng.integers(1, 0x6000, (32, 4)).astype("<u2")[..., None].view(np.uint8)
    assert _native.convert("TQ2_0", blocks.reshape(-1), 32, 1024).scale_form == (0, 256)
    powers = rng.integers(0, 256, (32, 32, 17), np.uint8)
    powers[..., 0] = rng.integers(120, 128, (32, 32))
    assert _native.convert("MXFP4", powers.reshape(-1), 32, 1024).scale_form == (1, 1024)
    powers[..., 0] = rng.integers(120, 130, (32, 32))
    assert _native.convert("MXFP4", powers.reshape(-1), 32, 1024).scale_form == (0, 32)
