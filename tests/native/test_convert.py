"""The native conversion gives the integers of `intact.numerics.weights`, in the documented panels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from intact import _native
from intact._base.errors import ModelError, ParameterError
from intact.numerics import weights
from intact.numerics.dequantize import dequantize
from intact.numerics.weight_formats import BLOCK_FORMATS
from support.examples import examples
from support.panels import panels_by_the_plan

pytestmark = pytest.mark.native

FLOAT_KINDS = ("F32", "F16", "BF16")
HALF_EXTREMES = np.array([0x0000, 0x8000, 0x0001, 0x03FF, 0x0400, 0x7BFF, 0xFBFF, 0x3C00], np.uint16)


def random_blocks(rng: np.random.Generator, kind: str, rows: int, blocks: int, extreme: bool) -> NDArray[np.uint8]:
    """Bytes of `rows` rows; every scale is finite, and extreme ones are the least and the largest that exist."""
    spec = BLOCK_FORMATS[kind]
    data = rng.choice(np.array([0, 255], np.uint8), (rows, blocks, spec.size)) if extreme else None
    if data is None:
        data = rng.integers(0, 256, (rows, blocks, spec.size), np.uint8)
    for half in spec.halves:
        halves = rng.integers(0, 0x7C00, (rows, blocks)).astype(np.uint16) | rng.choice([0, 0x8000], (rows, blocks))
        if extreme:
            halves = rng.choice(HALF_EXTREMES, (rows, blocks))
        half.write(data, halves.astype(np.uint16))
    if kind == "MXFP4":
        data[..., 0] = np.minimum(data[..., 0], 254)
    return data.reshape(-1)


def random_floats(rng: np.random.Generator, kind: str, rows: int, columns: int, spread: int) -> NDArray[np.uint8]:
    """Bytes of floats whose sizes differ by up to 2^spread, with zeros and rows of zeros among them."""
    x = rng.normal(size=(rows, columns)) * 2.0 ** rng.integers(-spread, spread + 1, (rows, columns))
    x[rng.random((rows, columns)) < 0.1] = 0
    x[rng.random(rows) < 0.1] = 0
    limit = 60000 if kind == "F16" else 3e38
    x = np.clip(x, -limit, limit)
    if kind == "BF16":
        return (x.astype(np.float32).view(np.uint32) >> 16).astype("<u2").view(np.uint8).reshape(-1)
    return x.astype({"F16": "<f2", "F32": "<f4"}[kind]).view(np.uint8).reshape(-1)


def assert_equal(native: _native.Weight, expected: weights.BlockWeight) -> None:
    assert (native.bits, native.block, native.zero, native.shift, native.columns) == (
        expected.bits, expected.block, expected.zero, expected.shift, expected.columns,
    )  # fmt: skip
    np.testing.assert_equal(native.table, expected.table)
    names = ("codes", "scale", "scale_exp", "minimum", "minimum_exp")
    for name, got in zip(names, native.unpack(), strict=True):
        np.testing.assert_equal(got, getattr(expected, name), name)


@pytest.mark.parametrize("kind", BLOCK_FORMATS)
@given(st.integers(1, 37), st.integers(1, 7), st.booleans(), st.integers(1, 3), st.integers(0, 2**32))
@examples(25)
def test_blocks_equal_the_reference(kind: str, rows: int, blocks: int, extreme: bool, threads: int, seed: int) -> None:
    data = random_blocks(np.random.default_rng(seed), kind, rows, blocks, extreme)
    shape = rows, blocks * BLOCK_FORMATS[kind].values
    expected = weights.from_blocks(kind, data, shape)
    native = _native.convert(kind, data, *shape, threads=threads)
    assert_equal(native, expected)
    for got, wanted in zip(native.panels(), panels_by_the_plan(expected), strict=True):
        np.testing.assert_equal(got, wanted)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("kind", FLOAT_KINDS)
@given(st.integers(1, 37), st.integers(1, 100), st.sampled_from([0, 3, 20, 140]), st.integers(0, 2**32))
@examples(25)
def test_floats_equal_the_reference(bits: int, kind: str, rows: int, columns: int, spread: int, seed: int) -> None:
    data = random_floats(np.random.default_rng(seed), kind, rows, columns, spread)
    expected = weights.from_floats(dequantize(kind, data, (rows, columns)), bits)
    native = _native.convert(kind, data, rows, columns, bits, 2)
    assert_equal(native, expected)
    for got, wanted in zip(native.panels(), panels_by_the_plan(expected), strict=True):
        np.testing.assert_equal(got, wanted)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize(
    "row",
    [
        np.full(40, np.finfo(np.float32).max),
        np.full(40, -np.finfo(np.float32).smallest_subnormal),
        np.r_[np.nextafter(np.float32(1), np.float32(0)), np.zeros(39)],
        np.r_[-1.0, np.full(31, 1.0), np.full(8, 2.0**-31)],
        np.r_[np.finfo(np.float32).max, np.full(39, np.finfo(np.float32).smallest_subnormal)],
        np.r_[np.linspace(-1, 1, 33), -np.linspace(0, 2**-20, 7)],
    ],
    ids=["largest", "least", "rounds to its bound", "ties", "all of the range", "ramp"],
)
def test_extreme_floats_equal_the_reference(bits: int, row: NDArray[np.float64]) -> None:
    x = np.stack([row, -row]).astype(np.float32)
    native = _native.convert("F32", x.view(np.uint8).reshape(-1), *x.shape, bits=bits)
    assert_equal(native, weights.from_floats(x, bits))


@pytest.mark.parametrize("kind", ["Q4_1", "Q3_K", "IQ4_NL", "F16"])
def test_a_row_is_decoded_alone(kind: str) -> None:
    rng = np.random.default_rng(5)
    shape = 19, 512
    if kind == "F16":
        data = random_floats(rng, kind, *shape, 2)
        expected = weights.from_floats(dequantize(kind, data, shape))
    else:
        data = random_blocks(rng, kind, shape[0], shape[1] // BLOCK_FORMATS[kind].values, extreme=False)
        expected = weights.from_blocks(kind, data, shape)
    native = _native.convert(kind, data, *shape)
    for n in (0, 15, 16, 18):
        integers, scale, minimum = native.row(n)
        np.testing.assert_equal(integers, weights.centred(expected)[n])
        np.testing.assert_equal(scale, expected.scale[n])
        np.testing.assert_equal(minimum, None if expected.minimum is None else expected.minimum[n])


@pytest.mark.parametrize("bad", [0x7C00, 0xFC00, 0x7E01])
@pytest.mark.parametrize("kind", BLOCK_FORMATS)
def test_a_scale_that_is_not_finite_is_named(kind: str, bad: int) -> None:
    spec = BLOCK_FORMATS[kind]
    for half in spec.halves or (None,):
        data = random_blocks(np.random.default_rng(1), kind, 40, 3, extreme=False).reshape(40, 3, spec.size)
        for place in ((21, 1), (38, 0)):
            if half is None:
                data[place][0] = 255
            else:
                half.write(data[place], np.uint16(bad))
        shape = 40, 3 * spec.values
        with pytest.raises(ModelError) as reference:
            weights.from_blocks(kind, data, shape)
        with pytest.raises(ModelError, match=f"row 21, column {spec.values} ") as native:
            _native.convert(kind, data.reshape(-1), *shape, threads=2)
        assert str(native.value) == str(reference.value)


@pytest.mark.parametrize("kind", FLOAT_KINDS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_not_finite_is_named(kind: str, bad: float) -> None:
    x = np.zeros((40, 50), np.float32)
    x[33, 7] = x[33, 9] = x[35, 2] = bad
    data = (x.view(np.uint32) >> 16).astype("<u2") if kind == "BF16" else x.astype({"F16": "<f2", "F32": "<f4"}[kind])
    with pytest.raises(ModelError) as reference:
        weights.from_floats(x)
    with pytest.raises(ModelError, match="row 33, column 7 ") as native:
        _native.convert(kind, data.view(np.uint8).reshape(-1), 40, 50, threads=2)
    assert str(native.value) == str(reference.value)


def test_arguments_that_do_not_fit_are_refused() -> None:
    data = np.zeros(18, np.uint8)
    with pytest.raises(ParameterError, match="Q4_9"):
        _native.convert("Q4_9", data, 1, 32)
    with pytest.raises(ParameterError, match="multiple of 32"):
        _native.convert("Q4_0", data, 1, 33)
    with pytest.raises(ParameterError, match="it should have 36"):
        _native.convert("Q4_0", data, 2, 32)
    with pytest.raises(ParameterError, match="it should be 8 or 4"):
        _native.convert("F16", data, 1, 9, bits=5)
    with pytest.raises(ParameterError, match="row 1 "):
        _native.convert("Q4_0", data, 1, 32).row(1)
