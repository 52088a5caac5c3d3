"""The gated delta rule in integers, against floats and at its extremes (docs/spec/numerics.md, section 8)."""

import numpy as np
import pytest

from intact.numerics.delta import (
    KEY_LIMIT,
    DeltaRows,
    DeltaShape,
    delta_row,
    delta_rows,
    end_block,
    unit_rows,
    written_row,
)
from intact.numerics.scan import BLOCK

LIMIT = (1 << 31) - 1
SHAPE = DeltaShape(heads=4, width=8, groups=2, states=16)


def parameters(shape: DeltaShape, slowest: float = 0.01) -> tuple[np.ndarray, np.ndarray]:
    """The bias of steps, and rates from `slowest` to 16."""
    rates, steps = np.geomspace(slowest, 16, shape.heads), np.geomspace(0.1, 0.001, shape.heads)
    bias = np.round(np.log(np.expm1(steps)) * 65536).astype(np.int64)
    return bias, np.floor(rates / np.log(2) * 2**20 + 0.5).astype(np.int64)


def whole(
    mixed: np.ndarray, steps: np.ndarray, beta: np.ndarray, bias: np.ndarray, rate: np.ndarray, shape: DeltaShape
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The results of a text, position by position, and the states behind its blocks."""
    query, key, step, value = delta_rows(mixed, steps, bias, shape)
    state, out, states = np.zeros((shape.heads, shape.states, shape.width), np.int64), [], []
    written = np.zeros_like(value)
    for p in range(len(value)):
        block = slice(p // BLOCK * BLOCK, p + 1)
        rows = DeltaRows(query[block], key[block], step[block], written[block])
        written[p] = written_row(rows, value[p], beta[p], state, rate, shape)
        out.append(delta_row(rows, state, rate, shape))
        if p % BLOCK == BLOCK - 1:
            state = end_block(rows, state, rate, shape)
            states.append(state)
    return np.array(out), states


def floats(
    mixed: np.ndarray, steps: np.ndarray, beta: np.ndarray, bias: np.ndarray, rate: np.ndarray, shape: DeltaShape
) -> np.ndarray:
    """The recurrence in float64, token by token: S = e^(dt A) S; S += k (sigmoid(b) (v - S^T k))^T; y = S^T q."""
    dt = np.log1p(np.exp((steps + bias) / 65536))
    decay = np.exp(-dt * rate / 2**20 * np.log(2))
    query, key, value = np.split(mixed / 65536, [shape.columns, 2 * shape.columns], axis=1)

    def unit(x: np.ndarray) -> np.ndarray:
        heads = shape.of_heads(x)
        return heads / np.sqrt((heads**2).sum(axis=-1, keepdims=True) + 1e-6)

    q, k, v = unit(query), unit(key), value.reshape(-1, shape.heads, shape.width)
    state, out = np.zeros((shape.heads, shape.states, shape.width)), []
    for p in range(len(mixed)):
        state = decay[p][:, None, None] * state
        wrong = v[p] - (k[p][:, None] @ state)[:, 0]
        state = state + k[p][:, :, None] * (wrong / (1 + np.exp(-beta[p] / 65536))[:, None])[:, None]
        out.append((q[p][:, None] @ state)[:, 0])
    return np.array(out).reshape(len(mixed), -1)


@pytest.mark.parametrize("count", [512, pytest.param(4096, marks=pytest.mark.slow)])
@pytest.mark.parametrize("tiled", [False, True])
def test_the_error_over_many_tokens_does_not_grow(tiled: bool, count: int) -> None:
    rng, shape = np.random.default_rng(1), SHAPE._replace(tiled=tiled)
    bias, rate = parameters(shape)
    mixed = (rng.normal(0, 1, (count, shape.channels)) * 65536).astype(np.int64)
    steps, beta = (rng.normal(0, 1, (2, count, shape.heads)) * 65536).astype(np.int64)
    found, _ = whole(mixed, steps, beta, bias, rate, shape)
    expected = floats(mixed, steps, beta, bias, rate, shape)
    error = np.abs(found / 65536 - expected).reshape(8, count // 8, -1).max(axis=(1, 2)) / np.abs(expected).max()
    assert error.max() < 2e-4, error
    assert error[-1] < 2 * error[0], error


def test_one_key_again_and_again_stays_at_its_value() -> None:
    """Keys that rounding makes longer than 1 would let the state swing ever further, were it not so short of 2."""
    shape = DeltaShape(heads=1, width=2, groups=1, states=128)
    rng = np.random.default_rng(2)
    row = (rng.normal(0, 1, shape.channels) * 65536).astype(np.int64)
    row[: shape.states] = row[shape.states : 2 * shape.states]
    zero = np.zeros((64, 1), np.int64)
    query, key, step, value = delta_rows(np.tile(row, (64, 1)), zero, zero[0], shape)
    state, written = np.zeros((1, shape.states, shape.width), np.int64), np.zeros_like(value)
    for _ in range(1600):  # more than 10^5 positions, nothing forgotten, everything written
        for t in range(64):
            rows = DeltaRows(query[: t + 1], key[: t + 1], step[: t + 1], written[: t + 1])
            written[t] = written_row(rows, value[t], np.array([LIMIT]), state, zero[0], shape)
        rows = DeltaRows(query, key, step, written)
        state = end_block(rows, state, zero[0], shape)
        if not written.any():
            break  # at rest: each further block is the same
    assert (np.abs(delta_row(rows, state, zero[0], shape) - row[-2:]) <= 16).all()


def test_results_do_not_depend_on_where_a_text_is_cut() -> None:
    rng = np.random.default_rng(3)
    bias, rate = parameters(SHAPE)
    mixed = rng.integers(-1 << 18, 1 << 18, (200, SHAPE.channels))
    steps, beta = rng.integers(-1 << 18, 1 << 18, (2, 200, SHAPE.heads))
    found, states = whole(mixed, steps, beta, bias, rate, SHAPE)
    assert len(states) == 3
    for end in (1, 63, 64, 65, 127, 128, 150):
        cut, _ = whole(mixed[:end], steps[:end], beta[:end], bias, rate, SHAPE)
        assert np.array_equal(cut, found[:end])


def test_keys_are_of_unit_length() -> None:
    rng = np.random.default_rng(4)
    for size in (2**31 - 1, 2**20, 3000):
        x = rng.integers(-size, size + 1, (50, 256))
        unit = unit_rows(x, 64).reshape(50, 4, 64)
        exact = x.reshape(unit.shape) / np.sqrt(
            (x.reshape(unit.shape) ** 2.0).sum(axis=2, keepdims=True) + 2**32 * 1e-6
        )
        assert np.abs(unit / 2**15 - exact).max() < 2**-15
        assert (np.square(unit).sum(axis=2) < 1.001 * 2**30).all()
    assert unit_rows(np.array([[LIMIT, 0, -LIMIT, 0]]), 2).tolist() == [[KEY_LIMIT, 0, -KEY_LIMIT, 0]]
    assert not unit_rows(np.zeros((1, 4), np.int64), 2).any()
    assert (np.abs(unit_rows(np.full((1, 4), 1), 4)) < 2**15 * 0.02).all()  # of far smaller than the epsilon


def test_extremes_saturate_and_never_wrap() -> None:
    """Inputs at the largest 32-bit value, nothing forgotten, everything written: sums stay below 2^63.

    Keys and values both turn at each row, so that what rows write adds up.
    """
    shape = DeltaShape(heads=1, width=2, groups=1, states=256)
    nothing = np.zeros(1, np.int64)
    for sign in (1, -1):
        mixed = np.full((200, shape.channels), LIMIT)
        mixed[:, -2:] *= sign
        mixed[1::2, shape.states :] *= -1
        found, states = whole(mixed, *np.full((2, 200, 1), LIMIT), nothing, nothing, shape)
        grown = np.diff(found[:64] * sign, axis=0)
        assert (found * sign > 2040 << 16).all()
        assert (grown[:14] > 2040 << 16).all()
        assert (grown >= 0).all()
        assert (found[63] * sign == LIMIT).all()
        assert all((np.abs(state) == LIMIT).all() for state in states)
