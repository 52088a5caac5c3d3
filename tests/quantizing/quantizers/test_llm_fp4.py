"""LLM-FP4's search: the scale is that of the least error of the products, computed in floats."""

import numpy as np
import pytest
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.numerics.grids import GRIDS
from intact.numerics.weights import values
from intact.quantizing.quantizers import QUANTIZERS, InputStatistics, parse_spec
from intact.quantizing.quantizers.fixed import fix_rows
from intact.quantizing.quantizers.llm_fp4 import search_products


def inputs_of(columns: int) -> InputStatistics:
    draw = np.random.default_rng(columns)
    x = draw.standard_normal((500, columns)) @ draw.standard_normal((columns, columns))
    x[:, 2] *= 30
    fixed = np.round(x * 1024).astype(np.int64)
    return InputStatistics(500, -10, fixed.T @ fixed, np.abs(fixed).max(0), np.abs(fixed).sum(0))


def best_error(w: NDArray[np.float64], h: NDArray[np.float64], levels: NDArray[np.float64]) -> float:
    """Return the least error of the products over 100 fractions of the largest value, in floats."""
    found = []
    for fraction in np.linspace(0.01, 1.2, 100):
        step = fraction * np.abs(w).max() / levels[-1]
        d = w - levels[np.abs(w[:, None] / step - levels).argmin(axis=1)] * step
        found.append(d @ h @ d)
    return float(min(found))


@pytest.mark.parametrize("width", [32, 96])
@pytest.mark.parametrize("name", ["e2m1", "e3m0", "int3s", "int8s"])
def test_the_scale_is_that_of_the_least_error(name: str, width: int) -> None:
    matrix = np.random.default_rng(4).standard_normal((5, 96)).astype(np.float32)
    second, grid = inputs_of(96).second, GRIDS[name]
    x = fix_rows(matrix).blocks(width).x
    own = np.stack([second[i : i + width, i : i + width] for i in range(0, 96, width)])
    scale, t = search_products(x, own, grid)
    levels = np.array(grid.levels, float)
    for row in range(5):
        for block in range(96 // width):
            w, h = x[row, block], own[block].astype(float)
            step = float(scale[row, block]) * 2.0 ** t[row]
            d = w - levels[np.abs(w[:, None] / step - levels).argmin(axis=1)] * step
            assert d @ h @ d <= 1.02 * best_error(w, h, levels)


def test_products_lose_less_than_by_the_error_of_the_weights() -> None:
    matrix = np.random.default_rng(5).standard_normal((48, 128)).astype(np.float32)
    inputs = inputs_of(128)

    def loss(text: str) -> float:
        spec = parse_spec(text)
        d = values(QUANTIZERS[spec.quantizer](matrix, spec, inputs).weight) - matrix
        return float(np.trace(d @ inputs.second.astype(float) @ d.T))

    for grid in ("e2m1-row", "e2m1-32", "int4-32"):
        assert loss(f"llm_fp4:{grid}") < loss(f"nearest:{grid}") < loss(f"nearest:{grid}@largest") * 1.05


def test_rows_of_zeros_and_padding() -> None:
    matrix = np.random.default_rng(6).standard_normal((3, 40)).astype(np.float32)
    matrix[1] = 0
    got = values(QUANTIZERS["llm_fp4"](matrix, parse_spec("llm_fp4:e2m1-row"), inputs_of(40)).weight)
    assert got.shape == (3, 40)
    assert np.all(got[1] == 0)


def test_what_it_cannot_do_is_refused() -> None:
    with pytest.raises(ParameterError, match="needs calibration"):
        QUANTIZERS["llm_fp4"](np.ones((2, 32), np.float32), parse_spec("llm_fp4:e2m1"), None)
    with pytest.raises(ParameterError, match="llm_fp4 supports the grids"):
        parse_spec("llm_fp4:int4a")
