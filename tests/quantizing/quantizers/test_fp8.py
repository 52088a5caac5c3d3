"""FP8 E4M3 in two planes against a decoder of its 256 codes, in floats."""

import numpy as np
import pytest

from intact.numerics.weights import BlockWeight, centred, model_values
from intact.quantizing.quantizers import QUANTIZERS, parse_spec

SPECS = ("mxfp8", "fp8:e4m3-64", "fp8:e4m3-32", "fp8:e4m3-row@power")


def decoded(code: int) -> float:
    """Return the number of a code (arXiv 2209.05433, table 1): S.EEEE.MMM, S.1111.111 is NaN, no infinities."""
    sign, exponent, fraction = -1 if code >> 7 else 1, code >> 3 & 15, code & 7
    if code & 127 == 127:
        return float("nan")
    return sign * (2.0**-6 * fraction / 8 if exponent == 0 else 2.0 ** (exponent - 7) * (1 + fraction / 8))


NUMBERS = np.unique([decoded(code) for code in range(256) if code & 127 != 127])


def quantized(text: str, matrix: np.ndarray) -> BlockWeight:
    spec = parse_spec(text)
    return QUANTIZERS[spec.quantizer](matrix, spec, None).weight


def heavy(rows: int, columns: int, seed: int = 3) -> np.ndarray:
    """Return rows of unlike sizes, with a few large values."""
    rng = np.random.default_rng(seed)
    sizes = np.ldexp(1.0, rng.integers(-30, 10, (rows, 1)))
    return np.asarray(rng.standard_t(3, (rows, columns)) * sizes, np.float32)


def steps(weight: BlockWeight, width: int) -> np.ndarray:
    """Return the scales of both planes' blocks, (N, 2, blocks)."""
    scale = np.ldexp(weight.scale.astype(float), weight.scale_exp[:, None])
    return scale.reshape(len(scale), 2, -1, width // weight.block)


@pytest.mark.parametrize("text", SPECS)
def test_each_value_goes_to_the_nearest_number_of_its_block(text: str) -> None:
    matrix = heavy(7, 128)
    width = parse_spec(text).width(128)
    weight = quantized(text, matrix)
    both = steps(weight, width)
    assert np.array_equal(both[:, 1], 128 * both[:, 0])
    assert np.all(both[:, 0] == both[:, 0, :, :1])
    unit = 512 * both[:, 0, :, 0]  # the scale of a number of E4M3, whose least is 2^-9
    got = model_values(weight).reshape(7, -1, width) / unit[..., None]
    assert np.isin(got, NUMBERS).all()
    wanted = matrix.reshape(7, -1, width).astype(float) / unit[..., None]
    nearest = np.abs(wanted[..., None] - NUMBERS).min(axis=-1)
    rounded = np.abs(matrix).max(axis=1)[:, None, None] * 2.0**-21 / unit[..., None]  # rows have 22 bits first
    assert np.all(np.abs(got - wanted) <= nearest + rounded)


def test_a_weight_lies_in_one_plane() -> None:
    low, high = np.split(centred(quantized("mxfp8", heavy(5, 64))), 2, axis=1)
    assert not np.any((low != 0) & (high != 0))
    assert np.any(low != 0)
    assert np.any(high != 0)
    assert max(np.abs(low).max(), np.abs(high).max()) <= 1792


def test_every_number_of_a_row_comes_out_again() -> None:
    """With a scale of 1 all 253 numbers are exact; blocks of zeros pad the row."""
    row = np.zeros((1, 256), np.float32)
    row[0, : len(NUMBERS)] = NUMBERS
    assert np.array_equal(model_values(quantized("fp8:e4m3-row", row)), row)
    assert np.array_equal(model_values(quantized("fp8:e4m3-256@power", row)), row)


def test_scales_of_mxfp8_are_powers_of_two_that_cut_nothing_off() -> None:
    matrix = heavy(6, 96)
    unit = 512 * steps(quantized("mxfp8", matrix), 32)[:, 0, :, 0]
    assert np.all(np.frexp(unit)[0] == 0.5)
    largest = np.abs(matrix.reshape(6, 3, 32)).max(axis=2)
    assert np.all(448 * unit >= largest * (1 - 2.0**-20))
    least = np.maximum(2.0 ** np.ceil(np.log2(largest / 448)), unit.max(axis=1, keepdims=True) / 128)
    assert np.array_equal(unit, least)


def test_rows_that_are_padded_and_zeros() -> None:
    matrix = np.zeros((3, 40), np.float32)
    matrix[1, 5:20] = 0.4375
    matrix[2, 39] = -3
    assert np.array_equal(model_values(quantized("mxfp8", matrix)), matrix)
    got = model_values(quantized("fp8:e4m3-row", matrix))
    assert np.allclose(got, matrix, rtol=2.0**-8, atol=0)  # a scale has 8 bits


def test_bits_are_those_of_the_format_and_of_both_planes() -> None:
    spec = parse_spec("mxfp8")
    assert (spec.bits_per_weight(), spec.stored_bits()) == (8.5, 17)
