"""Integer weights stand for the values of their source, within the bounds of docs/spec/numerics.md."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from intact._base.errors import ModelError, ParameterError
from intact.checkpoints.formats import open_checkpoint
from intact.numerics import fixed, weights
from intact.numerics.dequantize import dequantize
from intact.numerics.weight_formats import BLOCK_FORMATS

ONE_SCALE = ["Q4_0", "Q5_0", "Q8_0", "IQ4_NL", "MXFP4", "TQ1_0", "TQ2_0"]


def blocks(rng: np.random.Generator, kind: str, rows: int, count: int, spread: int) -> NDArray[np.uint8]:
    """Random blocks whose float16 scales have exponents that differ by at most `spread`."""
    spec = BLOCK_FORMATS[kind]
    data = rng.integers(0, 256, (rows, count, spec.size), np.uint8)
    for half in spec.halves:
        lowest = 30 - spread if spread == 30 else 8
        exponent = rng.integers(lowest, lowest + spread + 1, (rows, count))
        bits = exponent << 10 | rng.integers(0, 1 << 10, (rows, count)) | rng.choice([0, 1 << 15], (rows, count))
        half.write(data, bits.astype(np.uint16))
    if kind == "MXFP4":
        data[..., 0] = 120 + rng.integers(0, spread + 1, (rows, count))
    return data


def oracle(kind: str, data: NDArray[np.uint8]) -> NDArray[np.float64]:
    rows = np.ascontiguousarray(data).reshape(len(data), -1)
    return gguf.dequantize(rows, gguf.GGMLQuantizationType[kind]).reshape(len(data), -1).astype(np.float64)


def assert_close(w: weights.BlockWeight, expected: NDArray[np.float64]) -> None:
    """Half a unit of each row exponent, and float32's own rounding in the oracle."""
    size = np.abs(weights.centred(w)) * np.ldexp(0.5, w.scale_exp)[:, None]
    terms = np.abs(weights.values(w._replace(minimum=None)))
    if w.minimum is not None and w.minimum_exp is not None:
        size = size + np.ldexp(0.5, w.minimum_exp)[:, None]
        minimum = np.ldexp(w.minimum.astype(np.float64), w.minimum_exp[:, None])
        # The oracle adds two rounded terms, and the zero point moved between them.
        terms += 4 * np.repeat(np.abs(minimum), w.block, axis=1) + w.zero * np.repeat(
            np.abs(np.ldexp(w.scale.astype(np.float64), w.scale_exp[:, None])), w.block, axis=1
        )
    assert (np.abs(weights.values(w) - expected) <= 1.01 * size[:, : w.columns] + terms * 2.0**-22).all()


@pytest.mark.parametrize("kind", sorted(BLOCK_FORMATS))
@given(st.integers(1, 5), st.integers(1, 6), st.sampled_from([0, 4, 12, 30]), st.integers(0, 2**32))
def test_blocks_keep_their_values(kind: str, rows: int, count: int, spread: int, seed: int) -> None:
    data = blocks(np.random.default_rng(seed), kind, rows, count, spread)
    w = weights.from_blocks(kind, data.reshape(-1), (rows, count * BLOCK_FORMATS[kind].values))
    assert_close(w, oracle(kind, data))


@pytest.mark.parametrize("kind", ONE_SCALE)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 2**32))
def test_scales_within_a_factor_of_eight_are_kept_exactly(kind: str, rows: int, count: int, seed: int) -> None:
    data = blocks(np.random.default_rng(seed), kind, rows, count, spread=3)
    w = weights.from_blocks(kind, data.reshape(-1), (rows, count * BLOCK_FORMATS[kind].values))
    np.testing.assert_array_equal(weights.values(w), oracle(kind, data))


@pytest.mark.parametrize("name", ["smollm2-135m", "qwen-coder-0.5b", "gemma3-270m"])
def test_tensors_of_real_models_keep_their_values(name: str, model_path: Callable[[str], Path]) -> None:
    seen: set[str] = set()
    checkpoint = open_checkpoint(model_path(name))
    for tensor in checkpoint.tensors.values():
        if tensor.kind not in BLOCK_FORMATS or tensor.kind in seen:
            continue
        seen.add(tensor.kind)
        rows, columns = min(64, tensor.shape[0]), tensor.shape[1]
        data = tensor.data.reshape(tensor.shape[0], -1)[:rows]
        w = weights.from_blocks(tensor.kind, data.reshape(-1), (rows, columns))
        expected = oracle(tensor.kind, data)
        assert_close(w, expected)
        assert np.square(weights.values(w) - expected).sum() <= 1e-8 * np.square(expected).sum()
    assert seen


@pytest.mark.parametrize("kind", sorted(BLOCK_FORMATS))
def test_shift_is_the_least_with_which_eight_blocks_of_32_fit_a_group(kind: str) -> None:
    spec = BLOCK_FORMATS[kind]
    codes = np.array(spec.table or range(3 if kind == "TQ1_0" else 1 << spec.bits))
    largest = 32 * int(np.abs(codes - spec.zero).max()) * 127
    least = 0
    while largest > 32512 << least:
        least += 1
    assert spec.shift == least


def test_a_row_of_zeros_has_no_exponent() -> None:
    w = weights.from_blocks("Q4_1", np.zeros(40, np.uint8), (1, 64))
    assert w.scale_exp.tolist() == [-24]
    assert w.minimum is not None
    assert not w.scale.any()
    assert not w.minimum.any()
    for bits in (8, 4):
        w = weights.from_floats(np.zeros((2, 40), np.float32), bits)
        assert (w.codes == w.zero).all()
        assert (weights.values(w) == 0).all()


@given(st.integers(1, 4), st.integers(1, 70), st.integers(0, 30), st.integers(0, 2**32))
def test_int8_errs_by_half_a_step(rows: int, columns: int, spread: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(rows, columns)) * 2.0 ** rng.integers(-spread, 1, (rows, columns))).astype(np.float32)
    w = weights.from_floats(x, 8)
    assert w.codes.shape == (rows, -(-columns // 32) * 32)
    assert w.codes.min() >= 1
    assert (w.codes[:, columns:] == 128).all()
    step = np.repeat(np.ldexp(w.scale.astype(np.float64), w.scale_exp[:, None]), 32, axis=1)[:, :columns]
    unit = np.abs(x).max(axis=1, keepdims=True) * 2.0**-29
    assert (np.abs(weights.values(w) - x) <= step / 2 + unit).all()
    # The scale is the block's largest over 127, to one part in 15 bits of the row's largest scale.
    largest = np.abs(np.pad(x, ((0, 0), (0, -columns % 32)))).reshape(rows, -1, 32).max(axis=2)
    assert (np.abs(step[:, ::32] - largest / 127) <= np.abs(x).max(axis=1, keepdims=True) / 127 / 8000).all()


@given(st.integers(1, 3), st.integers(1, 40), st.integers(0, 12), st.integers(0, 2**32))
def test_four_bits_take_the_candidate_of_least_error(rows: int, columns: int, spread: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(rows, columns)) * 2.0 ** rng.integers(-spread, 1, (rows, columns))).astype(np.float32)
    w = weights.from_floats(x, 4)
    for n in range(rows):
        top = max(Fraction(float(abs(v))) for v in x[n])
        exponent = 0
        while top >= Fraction(2) ** exponent:
            exponent += 1
        while top and top < Fraction(2) ** (exponent - 1):
            exponent -= 1
        numbers = [_nearest(Fraction(float(v)) * Fraction(2) ** (18 - exponent)) for v in x[n]]
        numbers += [0] * (-columns % 32)
        t = 0
        while _nearest(Fraction(8 * max(map(abs, numbers)), 56 << t)) > 32767:
            t += 1
        assert w.scale_exp[n] == t + exponent - 18
        for b in range(len(numbers) // 32):
            scale, codes = _least_error(numbers[32 * b : 32 * b + 32], t)
            assert w.scale[n, b] == scale
            assert w.codes[n, 32 * b : 32 * b + 32].tolist() == codes


def _nearest(x: Fraction) -> int:
    return (x + Fraction(1, 2)).__floor__()


def _least_error(x: list[int], t: int) -> tuple[int, list[int]]:
    extreme = max(x, key=abs)
    results = []
    for c in [*range(-57, -78, -2), *range(56, 65, 2)]:
        scale = max(1, _nearest(Fraction(8 * abs(extreme), abs(c) << t)))
        if (c < 0) != (extreme < 0):
            scale = -scale
        step = scale << t
        q = [min(max(_nearest(Fraction(v, step)), -8), 7) for v in x]
        results.append((sum((v - k * step) ** 2 for v, k in zip(x, q, strict=True)), scale, [k + 8 for k in q]))
    _, scale, codes = min(results, key=lambda result: result[0])
    return scale, codes


def test_four_bits_beat_the_scale_of_the_extreme() -> None:
    x = np.random.default_rng(0).normal(size=(64, 1024)).astype(np.float32)
    ours = weights.values(weights.from_floats(x, 4))
    q4_0 = gguf.dequantize(gguf.quantize(x, gguf.GGMLQuantizationType.Q4_0), gguf.GGMLQuantizationType.Q4_0)
    assert np.square(ours - x).sum() < 0.92 * np.square(q4_0 - x).sum()


@pytest.mark.parametrize("bits", [8, 4])
@given(st.integers(-80, 80), st.integers(0, 2**32))
def test_a_power_of_two_moves_only_the_exponent(bits: int, power: int, seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(3, 50)).astype(np.float32)
    one, other = weights.from_floats(x, bits), weights.from_floats(np.ldexp(x, power), bits)
    np.testing.assert_array_equal(one.codes, other.codes)
    np.testing.assert_array_equal(one.scale, other.scale)
    np.testing.assert_array_equal(one.scale_exp + power, other.scale_exp)


def test_floats_are_decoded_exactly() -> None:
    x = np.array([[1.5, -0.0, 2.0**-14, 3.0]], np.float32)
    assert (dequantize("F32", x.view(np.uint8).reshape(-1), (1, 4)) == x).all()
    assert (dequantize("F16", x.astype("<f2").view(np.uint8).reshape(-1), (1, 4)) == x).all()
    bf16 = (x.view(np.uint32) >> 16).astype("<u2")
    assert (dequantize("BF16", bf16.view(np.uint8).reshape(-1), (1, 4)) == x).all()


def test_bad_weights_are_named() -> None:
    data = np.zeros((3, 2, 18), np.uint8)
    data[1, 1, :2] = 0, 0x7C
    with pytest.raises(ModelError, match="Q4_0 scale at row 1, column 32 is NaN or infinite"):
        weights.from_blocks("Q4_0", data.reshape(-1), (3, 64))
    x = np.zeros((3, 64), np.float32)
    x[2, 33] = np.nan
    with pytest.raises(ModelError, match="weight at row 2, column 33 is NaN or infinite"):
        weights.from_floats(x)


def test_bad_arguments_are_named() -> None:
    data = np.zeros(18, np.uint8)
    with pytest.raises(ParameterError, match="'Q9'"):
        weights.from_blocks("Q9", data, (1, 32))
    with pytest.raises(ParameterError, match="multiple of 32"):
        weights.from_blocks("Q4_0", data, (1, 33))
    with pytest.raises(ParameterError, match="should have 36"):
        weights.from_blocks("Q4_0", data, (2, 32))
    with pytest.raises(ParameterError, match="should be 8 or 4"):
        weights.from_floats(np.zeros((1, 32), np.float32), bits=5)


@given(st.integers(-(2**61), 2**61), st.integers(-40, 70))
def test_shifts_round_half_up(x: int, s: int) -> None:
    right = (x + (1 << s >> 1)) >> s if s >= 0 else 0
    expected = (0 if s >= 63 else right) if s >= 0 else min(max(x, -fixed.LIMIT), fixed.LIMIT) << min(-s, 31)
    assert fixed.shift(x, s) == expected
    assert fixed.bitlen(abs(x)) == abs(x).bit_length()
    assert fixed.sat32(x) == min(max(x, -fixed.LIMIT), fixed.LIMIT)
