"""GPTQ against the authors' formulas, and what holds of its error."""

import numpy as np
import pytest
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.numerics.grids import GRIDS
from intact.numerics.weights import values
from intact.quantizing.quantizers import QUANTIZERS, InputStatistics, parse_spec
from intact.quantizing.quantizers.columns import define_columns, define_factor, factor, round_columns
from intact.quantizing.quantizers.gptq import damped

Floats = NDArray[np.float64]


def inputs_of(columns: int, seed: int = 0, rows: int = 400) -> InputStatistics:
    """Statistics of correlated inputs, one of them dead."""
    draw = np.random.default_rng(seed)
    x = draw.standard_normal((rows, columns)) @ draw.standard_normal((columns, columns))
    x[:, 3] = 0
    fixed = np.round(x * 256).astype(np.int64)
    return InputStatistics(rows, -8, fixed.T @ fixed, np.abs(fixed).max(0), np.abs(fixed).sum(0))


def authors(matrix: Floats, h: Floats, steps: Floats) -> Floats:
    """The program of the paper: the upper Cholesky factor of H's inverse, column by column, by LAPACK."""
    upper = np.linalg.cholesky(np.linalg.inv(h)).T
    w, q = matrix.copy(), np.zeros_like(matrix)
    for j in range(w.shape[1]):
        q[:, j] = np.clip(np.floor(w[:, j] / steps[:, j] + 0.5), -8, 7) * steps[:, j]
        error = (w[:, j] - q[:, j]) / upper[j, j]
        w[:, j + 1 :] -= error[:, None] * upper[j, j + 1 :]
    return q


def test_codes_are_those_of_the_authors_update() -> None:
    matrix = np.random.default_rng(5).standard_normal((24, 64)).astype(np.float32)
    inputs, spec = inputs_of(64), parse_spec("gptq:int4-32")
    weight = QUANTIZERS["gptq"](matrix, spec, inputs).weight
    steps = np.repeat(np.ldexp(weight.scale.astype(float), weight.scale_exp[:, None]), 32, axis=1)
    h, dead = damped(inputs.second, 64)
    given = matrix.astype(float)
    given[:, dead] = 0
    expected = authors(given, h, steps)
    assert np.mean(values(weight) == expected) > 0.999  # ties alone may differ, by rounding


def test_the_proxy_is_the_error_of_the_products() -> None:
    matrix = np.random.default_rng(6).standard_normal((9, 96)).astype(np.float32)
    inputs = inputs_of(96)
    result = QUANTIZERS["gptq"](matrix, parse_spec("gptq:int3-16"), inputs)
    h, dead = damped(inputs.second, 96)
    error = values(result.weight) - np.where(dead, 0, matrix)
    expected = np.trace(error @ h @ error.T) * 2.0 ** (2 * inputs.exponent) / inputs.rows
    assert result.proxy == pytest.approx(expected, rel=1e-4)  # rows are rounded to 22 bits before


NEW = [
    "trits2",
    "fp4",
    "nupes4",
    "nupes4a4",
    "nupes4a8",
    "shift2",
    "shift3",
    "shift4",
    "lloyd2",
    "lloyd3",
    "lloyd4",
    "e3m0",
]


@pytest.mark.parametrize("spec", ["int3-16", "int2-16", "nf4-64", "int3a-16", "ternary-64", *NEW])
@pytest.mark.parametrize("name", ["gptq", "gptq_ordered"])
def test_it_loses_less_than_rounding_over_a_matrix(name: str, spec: str) -> None:
    matrix = np.random.default_rng(7).standard_normal((48, 128)).astype(np.float32)
    inputs = inputs_of(128, seed=2)
    h, dead = damped(inputs.second, 128)
    given = np.where(dead, 0, matrix)

    def loss(quantizer: str) -> float:
        error = values(QUANTIZERS[quantizer](matrix, parse_spec(f"{quantizer}:{spec}"), inputs).weight) - given
        error[:, dead] = 0
        return float(np.trace(error @ h @ error.T))

    assert loss(name) < 0.9 * loss("nearest")


def test_the_factorisation_gives_the_matrix_again() -> None:
    h, _ = damped(inputs_of(80).second, 80)
    r, d = factor(h)
    assert np.array_equal(r, np.triu(r))
    assert np.array_equal(np.diag(r), np.ones(80))
    assert np.all(d > 0)
    assert np.allclose(r @ np.diag(d) @ r.T, h, rtol=1e-10, atol=1e-10 * np.abs(h).max())


@pytest.mark.parametrize("columns", [1, 17, 64, 65, 200])
def test_native_equals_the_definition(columns: int) -> None:
    draw = np.random.default_rng(columns)
    x = draw.standard_normal((2 * columns + 3, columns))
    h = np.round(x.T @ x * 1000)
    r, d = factor(h)
    for mine, theirs in zip((r, d), define_factor(h), strict=True):
        assert np.array_equal(mine, theirs)
    original = np.round(draw.standard_normal((37, columns)) * 1e5)
    step = draw.integers(1, 60000, original.shape) * draw.choice([-1.0, 1.0], original.shape)
    offset = draw.integers(-9, 9, original.shape) * 1000.0
    for name in ("int4", "nf4", "ternary", "shift3", "shift4", "lloyd3", "nupes4a3"):
        arguments = (original, step, offset, r, d, GRIDS[name])
        for mine, theirs in zip(round_columns(*arguments), define_columns(*arguments), strict=True):
            assert np.array_equal(mine, theirs), name


def test_statistics_of_too_few_rows_are_refused() -> None:
    with pytest.raises(ParameterError, match="not positive definite"):
        factor(np.zeros((3, 3)))
    with pytest.raises(ParameterError, match="needs calibration"):
        QUANTIZERS["gptq"](np.ones((2, 32), np.float32), parse_spec("gptq:int4"), None)
