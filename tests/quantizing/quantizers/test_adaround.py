"""AdaRound's descent against all choices of small rows, and against GPTQ."""

import itertools

import numpy as np
import pytest

from intact._base.errors import ParameterError
from intact.numerics.grids import GRIDS
from intact.numerics.weights import values
from intact.quantizing.quantizers import QUANTIZERS, InputStatistics, parse_spec
from intact.quantizing.quantizers.adaround import best_end
from intact.quantizing.quantizers.columns import factor, round_columns
from intact.quantizing.quantizers.descent import Rounding, define_descend, descend
from intact.quantizing.quantizers.fixed import Floats
from intact.quantizing.quantizers.gptq import damped

GRID_NAMES = ("int3", "int4", "nf4", "ternary", "shift3", "lloyd2")


def statistics(columns: int, seed: int = 2) -> InputStatistics:
    """Statistics of correlated inputs, one of them dead."""
    draw = np.random.default_rng(seed)
    x = draw.standard_normal((3 * columns, columns)) @ draw.standard_normal((columns, columns))
    x[:, 3] = 0
    fixed = np.round(x * 256).astype(np.int64)
    return InputStatistics(len(x), -8, fixed.T @ fixed, np.abs(fixed).max(0), np.abs(fixed).sum(0))


def problem_of(rows: int, columns: int, grid: str, seed: int = 0) -> Rounding:
    """Random rows under correlated inputs; steps of both signs."""
    draw = np.random.default_rng(seed)
    h, _ = damped(statistics(columns, seed).second, columns)
    wanted = np.round(draw.standard_normal((rows, columns)) * 1e5)
    step = draw.choice([-1.0, 1.0], (rows, columns)) * (2.5e5 / GRIDS[grid].largest)
    return Rounding(wanted, step, draw.integers(-3, 3, step.shape) * 1000.0, h, GRIDS[grid])


def gptq_start(problem: Rounding) -> Floats:
    """GPTQ's levels."""
    r, d = factor(problem.h)
    return round_columns(problem.wanted, problem.step, problem.offset, r, d, problem.grid)[0]


def errors_of(problem: Rounding, levels: Floats) -> Floats:
    """E H ET by NumPy."""
    error = problem.values(levels) - problem.wanted
    return np.einsum("nj,jk,nk->n", error, problem.h, error)


@pytest.mark.parametrize("grid", GRID_NAMES)
def test_against_all_choices_of_up_and_down(grid: str) -> None:
    columns = 10
    problem = problem_of(40, columns, grid)
    below, above = problem.neighbours()
    choices = np.array(list(itertools.product((0, 1), repeat=columns)), bool)
    every = [np.where(choices, above[n], below[n]) for n in range(40)]
    least = np.array([errors_of(problem.part(np.full(len(levels), n)), levels).min() for n, levels in enumerate(every)])
    levels, errors = best_end(problem, gptq_start(problem), bounded=True)
    assert np.all((levels == below) | (levels == above))
    assert np.allclose(errors, errors_of(problem, levels), rtol=1e-9)
    assert np.all(errors >= least * (1 - 1e-9))
    assert np.mean(errors <= least * (1 + 1e-9)) >= 0.5  # of rows end at the best of all
    assert errors.sum() <= 1.25 * least.sum()


@pytest.mark.parametrize("bounded", [True, False])
@pytest.mark.parametrize("grid", GRID_NAMES)
def test_no_single_change_lowers_the_error(grid: str, bounded: bool) -> None:
    problem = problem_of(12, 40, grid, seed=3)
    levels, errors = best_end(problem, gptq_start(problem), bounded)
    low, high = problem.neighbours()
    for k in range(40):
        for level in GRIDS[grid].levels:
            other = levels.copy()
            other[:, k] = level
            allowed = (low[:, k] <= level) & (level <= high[:, k]) if bounded else np.ones(12, bool)
            assert np.all(errors_of(problem, other)[allowed] >= errors[allowed] * (1 - 1e-9))


@pytest.mark.parametrize("grid", GRID_NAMES)
@pytest.mark.parametrize("columns", [1, 17, 65, 130])
def test_native_equals_the_definition(columns: int, grid: str) -> None:
    draw = np.random.default_rng(columns)
    problem = problem_of(21, max(4, columns), grid, seed=columns)
    ends = (np.full(problem.wanted.shape, float(end)) for end in (GRIDS[grid].levels[0], GRIDS[grid].levels[-1]))
    start = draw.choice(np.array(GRIDS[grid].levels, float), problem.wanted.shape)
    for low, high in (problem.neighbours(), tuple(ends)):
        arguments = (problem, np.clip(start, low, high), low, high)
        for mine, theirs in zip(descend(*arguments), define_descend(*arguments), strict=True):
            assert np.array_equal(mine, theirs)


@pytest.mark.parametrize("spec", ["int3-16", "int2-16", "nf4-64", "int3a-16", "shift3", "iq4_nl", "q4_1"])
def test_it_loses_less_than_gptq_and_states_its_error(spec: str) -> None:
    matrix = np.random.default_rng(7).standard_normal((48, 128)).astype(np.float32)
    inputs = statistics(128)
    h, dead = damped(inputs.second, 128)
    losses = {}
    for name in ("nearest", "gptq", "adaround", "descent"):
        result = QUANTIZERS[name](matrix, parse_spec(f"{name}:{spec}"), inputs)
        error = values(result.weight) - np.where(dead, 0, matrix)
        losses[name] = float(np.trace(error @ h @ error.T)) * 2.0 ** (2 * inputs.exponent) / inputs.rows
        if result.proxy is not None:
            assert result.proxy == pytest.approx(losses[name], rel=1e-3)
    assert losses["descent"] < losses["gptq"] < losses["nearest"]
    assert losses["adaround"] < 0.9 * losses["nearest"]


def test_it_needs_a_text() -> None:
    with pytest.raises(ParameterError, match="needs calibration"):
        QUANTIZERS["adaround"](np.ones((2, 32), np.float32), parse_spec("adaround:int4"), None)
