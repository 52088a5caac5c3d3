"""Rules of scales against what their sources say, computed in floats."""

import numpy as np
import pytest
from numpy.typing import NDArray

from intact.numerics.weights import values
from intact.quantizing.quantizers import QUANTIZERS, parse_spec
from intact.quantizing.quantizers.scales import round_e4m3

E4M3 = np.array([m * 2.0**-9 for m in range(8)] + [(8 + m) * 2.0 ** (e - 10) for e in range(1, 16) for m in range(8)])
"""All numbers of OCP FP8 E4M3 from 0 up; the last one is the code of NaN."""


def nearest_e4m3(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round to the nearest number of E4M3, ties to the even code, never to 0."""
    known = E4M3[:-1]
    distance = np.abs(known - x[..., None])
    best = distance.min(axis=-1, keepdims=True)
    index = np.where(distance == best, np.arange(len(known)) % 2, 2).argmin(axis=-1)
    return np.maximum(known[index], known[1])


def matrix_of(rows: int = 24, columns: int = 128) -> NDArray[np.float32]:
    """Rows and blocks of sizes that differ a thousandfold, in 16 bits below the largest so that all is exact."""
    draw = np.random.default_rng(11)
    matrix = draw.standard_normal((rows, columns)) * np.exp2(draw.integers(-5, 1, (rows, 1)))
    matrix *= np.repeat(np.exp2(draw.integers(-6, 1, (rows, columns // 16))), 16, axis=1)
    matrix[2], matrix[3, :16] = 0, 0
    matrix = np.round(matrix * 4096) / 4096
    matrix[4] *= 2.0**-60
    return matrix.astype(np.float32)


@pytest.mark.parametrize(("name", "reach"), [("nvfp4", 12), ("nvint4", 7), ("int8s-32@e4m3", 127)])
def test_two_level_scales_are_e4m3_times_a_number_of_the_matrix(name: str, reach: int) -> None:
    matrix, spec = matrix_of(), parse_spec(name)
    weight = QUANTIZERS["nearest"](matrix, spec, None).weight
    exact = np.abs(matrix.reshape(len(matrix), -1, spec.block)).max(axis=2).astype(np.float64) / reach
    g = exact.max() / 448
    wanted = nearest_e4m3(exact / g) * g
    got = np.ldexp(weight.scale.astype(np.float64), weight.scale_exp[:, None])[:, :: spec.block // weight.block]
    living = np.abs(matrix).max(axis=1) > 2.0**-40
    assert living.sum() == len(matrix) - 2
    assert np.all((np.abs(got - wanted) <= np.ldexp(1.0, weight.scale_exp)[:, None])[living])
    assert np.all(values(weight)[~living] == 0)
    off = np.abs(wanted - exact) / np.maximum(exact, 1e-30)
    assert off[exact > 8 * 2.0**-9 * g].max() > 0.03  # the second level rounds: 4 significant bits


def test_a_matrix_of_zeros_has_steps() -> None:
    weight = QUANTIZERS["nearest"](np.zeros((3, 64), np.float32), parse_spec("nvfp4"), None).weight
    assert np.all(values(weight) == 0)
    assert np.all(weight.scale > 0)


def test_numbers_of_e4m3_stay_and_ties_go_to_even() -> None:
    sizes = np.array([int(x * 512) for x in E4M3[1:-1]], np.int64)
    assert np.array_equal(round_e4m3(sizes * 10, np.full_like(sizes, 10)), sizes)
    between = sizes[1:] + sizes[:-1]
    even = np.where(np.arange(1, len(sizes)) % 2 == 0, sizes[:-1], sizes[1:])
    assert np.array_equal(round_e4m3(between, np.full_like(between, 2)), even)


def test_the_scale_of_a_row_depends_on_the_whole_matrix() -> None:
    """That is why a rule is given the rows' exponents: the same row beside a larger one has another scale."""
    draw = np.random.default_rng(2).standard_normal((1, 64)).astype(np.float32)
    alone = QUANTIZERS["nearest"](draw, parse_spec("nvint4"), None).weight
    beside = QUANTIZERS["nearest"](np.vstack([draw, draw * 100 / 3]), parse_spec("nvint4"), None).weight
    assert not np.array_equal(alone.scale[0], beside.scale[0])
