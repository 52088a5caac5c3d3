"""Trapezoidal scans in integers, against floats and at their extremes (docs/spec/numerics.md, section 8)."""

import math

import numpy as np
import pytest

from intact.numerics.convolve import CODE_LIMIT
from intact.numerics.fixed import LIMIT
from intact.numerics.functions import LOG2E
from intact.numerics.scan import STEP_LIMIT
from intact.numerics.trapezoidal import (
    TURN,
    TrapezoidalRows,
    TrapezoidalShape,
    TrapezoidalWeights,
    advance,
    decay,
    slowest_rate,
    step_size,
    tanh,
    trapezoidal_row,
    zero_state,
)

SHAPE = TrapezoidalShape(4, 3, 2, 8, 2)
FLOOR = 1e-4


def parameters(rng: np.random.Generator, shape: TrapezoidalShape = SHAPE) -> TrapezoidalWeights:
    """Biases of dt as the authors draw them (steps of 0.001 to 0.1), those of B and C about 1, and D."""
    steps = np.geomspace(0.1, 0.001, shape.heads)
    b, c = rng.normal(1, 0.2, (2, shape.heads, shape.states))
    parts = np.log(np.expm1(steps)), b, c, rng.normal(1, 0.5, shape.heads)
    found = TrapezoidalWeights(*(np.round(part * 65536).astype(np.int64) for part in parts), slowest_rate(FLOOR))
    return found._replace(step_bias=found.step_bias << 4)


def text(rng: np.random.Generator, count: int, a: float = 0.0, shape: TrapezoidalShape = SHAPE) -> TrapezoidalRows:
    """Rows of a text; `a` is the mean of what decays follow from."""
    sizes = np.geomspace(0.01, 10, shape.inner)
    x, controls = rng.normal(0, 1, (count, shape.inner)) * sizes, rng.normal(0, 1, (count, shape.controls))
    controls[:, shape.heads : 2 * shape.heads] += a
    b, c = rng.normal(0, 1, (2, count, shape.columns))
    return TrapezoidalRows(*(np.round(part * 65536).astype(np.int64) for part in (x, b, c, controls)))


def whole(rows: TrapezoidalRows, weights: TrapezoidalWeights, shape: TrapezoidalShape = SHAPE) -> np.ndarray:
    """The results of a text, position by position."""
    state, out = zero_state(shape), []
    for i in range(len(rows.x)):
        state = advance(rows, i, state, weights, shape)
        assert np.abs(state.mantissa).max() < LIMIT  # the sum of three parts never saturates
        out.append(trapezoidal_row(rows, i, state, weights, shape))
    return np.array(out)


def floats(rows: TrapezoidalRows, weights: TrapezoidalWeights) -> np.ndarray:
    """The recurrence in float64, as the authors' program has it."""
    step_bias, b_bias, c_bias, skip = (part / 65536 for part in (weights.step_bias / 16, *weights[1:4]))
    x, b, c, controls = (part / 65536 for part in rows)
    heads, group = SHAPE.heads, SHAPE.heads // SHAPE.groups
    state, theta = np.zeros((heads, SHAPE.width, SHAPE.states)), np.zeros((heads, SHAPE.angles))
    key, value, out = np.zeros((heads, SHAPE.states)), np.zeros((heads, SHAPE.width)), []

    def turn(row: np.ndarray, bias: np.ndarray) -> np.ndarray:
        found = np.repeat(row.reshape(SHAPE.groups, SHAPE.states), group, axis=0) + bias
        pairs = found[:, : 2 * SHAPE.angles].reshape(heads, SHAPE.angles, 2)
        spun = (pairs[..., 0] + 1j * pairs[..., 1]) * np.exp(1j * theta)
        found[:, : 2 * SHAPE.angles] = np.stack([spun.real, spun.imag], axis=-1).reshape(heads, -1)
        return found

    for t in range(len(x)):
        dt = np.logaddexp(0, controls[t, :heads] + step_bias)
        a = controls[t, heads : 2 * heads]
        rate = np.maximum(np.where(a >= 0, 1 + a, 1 / (1 - np.minimum(a, 0))), FLOOR)
        kept, share = np.exp(-rate * dt), 1 / (1 + np.exp(-controls[t, 2 * heads : 3 * heads]))
        theta = (theta + math.pi * np.tanh(controls[t, 3 * heads :]) * dt[:, None]) % (2 * math.pi)
        state = (state + ((1 - share) * dt)[:, None, None] * value[..., None] * key[:, None]) * kept[:, None, None]
        key, value = turn(b[t], b_bias), x[t].reshape(heads, SHAPE.width)
        state += (share * dt)[:, None, None] * value[..., None] * key[:, None]
        out.append(((state * turn(c[t], c_bias)[:, None]).sum(axis=2) + skip[:, None] * value).reshape(-1))
    return np.array(out)


@pytest.mark.parametrize("count", [512, pytest.param(8192, marks=pytest.mark.slow)])
@pytest.mark.parametrize("a", [0.0, -300.0])
def test_the_error_over_many_tokens_does_not_grow(a: float, count: int) -> None:
    rng = np.random.default_rng(1)
    weights, rows = parameters(rng), text(rng, count, a)
    found, expected = whole(rows, weights), floats(rows, weights)
    largest = np.abs(expected).max(axis=0)  # of each channel
    error = (np.abs(found / 65536 - expected) / largest).reshape(8, count // 8, -1).max(axis=(1, 2))
    assert error.max() < 1e-4, error
    loud = np.abs(found / 65536 - expected).reshape(8, -1).max(axis=1) / np.abs(expected).max()
    assert loud.max() < 5e-5, loud


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_constant_angle_turns_keys_and_queries_without_drift(count: int) -> None:
    """Theta is the sum of its increments modulo a turn, exactly."""
    rng = np.random.default_rng(4)
    weights, rows, state = parameters(rng), text(rng, count), zero_state(SHAPE)
    rows = rows._replace(controls=np.repeat(rows.controls[:1], count, axis=0))
    for i in range(count):
        state = advance(rows, i, state, weights, SHAPE)
        if i == 0:
            first = state.angle
    assert np.array_equal(state.angle, first * count % TURN)


def test_decays_follow_the_two_branches_and_their_bounds() -> None:
    step = np.array([1 << 26])
    a = np.round(np.concatenate([np.linspace(-5, 5, 1001), [-1e4, -32767.0, 700.0, 32767.0]]) * 65536).astype(np.int64)
    found = decay(step, a << 4, slowest_rate(FLOOR)) / 2**30
    x = a / 65536
    t = np.clip(np.where(x >= 0, 1 + x, 1 / (1 - np.minimum(x, 0))), FLOOR, 1024 / math.log2(math.e))
    assert np.allclose(found, t * math.log2(math.e), rtol=2e-6, atol=1e-8)
    assert decay(np.array([STEP_LIMIT]), np.array([LIMIT << 4]), 1)[0] > 31 << 30


def test_steps_are_those_of_softplus() -> None:
    dt = np.linspace(-20, 62, 10001)
    found = step_size(np.round(dt * 2**20).astype(np.int64)) / 2**26
    assert np.abs(found - np.logaddexp(0, np.round(dt * 2**20) / 2**20)).max() < 1e-7


def test_tanh_is_within_its_bound() -> None:
    x = np.concatenate([np.arange(-(1 << 21), 1 << 21, 37), [LIMIT, -LIMIT, 0]])
    found = tanh(x)
    assert np.abs(found / 2**30 - np.tanh(x / 65536)).max() < 2**-22
    assert np.abs(found).max() <= 1 << 30
    assert np.array_equal(found, -tanh(-x))


def test_extremes_stay_within_64_bits() -> None:
    rng, shape = np.random.default_rng(3), TrapezoidalShape(2, 2, 1, 256, 128)
    for size in (LIMIT, 3):
        b_bias, c_bias = rng.choice([-LIMIT, LIMIT], (2, 2, 256))
        weights = TrapezoidalWeights(np.array([LIMIT << 3, -5]), b_bias, c_bias, np.array([LIMIT, -LIMIT]), 1)
        signs = [rng.choice([-1, 1], (200, n)) for n in (4, 256, 256, shape.controls)]
        x, b, c, controls = (part * LIMIT for part in signs)
        controls[:, 2:4] = np.sign(controls[:, 2:4]) * size
        controls[:, 4:6] //= LIMIT // size
        rows = TrapezoidalRows(x, b, c, controls)
        out = whole(rows, weights, shape)
        assert np.abs(out).max() == LIMIT
    assert step_size(np.array([LIMIT << 5]))[0] == STEP_LIMIT
    assert (710 << 20) * LOG2E < 2**62
    assert STEP_LIMIT * LIMIT + (1 << 15) < 2**63
    assert (CODE_LIMIT << 47) < 2**62
    assert STEP_LIMIT << 30 < 2**62  # steps times shares, decays or tanh
    assert LIMIT > 3 << 29  # the three parts of a state


def test_the_share_of_a_position_before_comes_with_the_next_one() -> None:
    rng = np.random.default_rng(5)
    weights, rows = parameters(rng), text(rng, 2)
    rows.controls[:, 2 * SHAPE.heads : 3 * SHAPE.heads] = -LIMIT  # all of a position's input comes with the next
    first = advance(rows, 0, zero_state(SHAPE), weights, SHAPE)
    assert not first.mantissa.any()
    assert advance(rows, 1, first, weights, SHAPE).mantissa.any()
    rows.controls[:, 2 * SHAPE.heads : 3 * SHAPE.heads] = LIMIT  # none of it does
    alone = TrapezoidalRows(*(part[1:] for part in rows))
    second = advance(rows, 1, zero_state(SHAPE), weights, SHAPE)
    assert np.array_equal(second.mantissa, advance(alone, 0, zero_state(SHAPE), weights, SHAPE).mantissa)
