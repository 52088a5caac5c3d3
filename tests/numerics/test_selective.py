"""Selective scans in integers, against floats and at their extremes (docs/spec/numerics.md, section 8)."""

import numpy as np
import pytest

from intact.numerics.selective import (
    SelectiveRows,
    SelectiveWeights,
    advance,
    selective_row,
    selective_rows,
    zero_state,
)

LIMIT = (1 << 31) - 1
CHANNELS, STATES = 24, 16


def parameters(rng: np.random.Generator, slowest: float = 0.01) -> SelectiveWeights:
    """Rates from `slowest` to 16, and D."""
    rates = np.geomspace(slowest, 16, CHANNELS * STATES).reshape(CHANNELS, STATES)
    skip = np.round(rng.normal(1, 0.5, CHANNELS) * 65536).astype(np.int64)
    return SelectiveWeights(np.floor(rates / np.log(2) * 2**20 + 0.5).astype(np.int64), skip)


def text(rng: np.random.Generator, count: int) -> list[np.ndarray]:
    """x, B, C and steps of a text, Q16, the channels of very different sizes, and steps of 0.001 to 0.1 or so."""
    sizes = np.geomspace(0.01, 10, CHANNELS)
    x = rng.normal(0, 1, (count, CHANNELS)) * sizes
    steps = rng.normal(np.log(np.expm1(np.geomspace(0.1, 0.001, CHANNELS))), 1, (count, CHANNELS))
    b, c = rng.normal(0, 1, (2, count, STATES))
    return [np.round(part * 65536).astype(np.int64) for part in (x, b, c, steps)]


def whole(rows: SelectiveRows, weights: SelectiveWeights) -> np.ndarray:
    """The results of a text, position by position."""
    state, out = zero_state(weights), []
    for i in range(len(rows.step)):
        state = advance(rows, i, state, weights)
        assert np.abs(state.mantissa).max() <= LIMIT
        out.append(selective_row(rows, i, state, weights))
    return np.array(out)


def floats(parts: list[np.ndarray], weights: SelectiveWeights) -> np.ndarray:
    """The recurrence in float64: h = e^(dt A) h + dt B x; y = C h + D x."""
    x, b, c, steps = (part / 65536 for part in parts)
    dt, a = np.log1p(np.exp(steps)), -weights.rate / 2**20 * np.log(2)
    state, out = np.zeros((CHANNELS, STATES)), []
    for i in range(len(x)):
        state = np.exp(dt[i][:, None] * a) * state + (dt[i] * x[i])[:, None] * b[i]
        out.append(state @ c[i] + weights.skip / 65536 * x[i])
    return np.array(out)


@pytest.mark.parametrize("count", [1024, pytest.param(8192, marks=pytest.mark.slow)])
@pytest.mark.parametrize("slowest", [0.01, 1e-5])
def test_the_error_over_many_tokens_does_not_grow(slowest: float, count: int) -> None:
    rng = np.random.default_rng(1)
    weights, parts = parameters(rng, slowest), text(rng, count)
    found, expected = whole(selective_rows(*parts), weights), floats(parts, weights)
    largest = np.abs(expected).max(axis=0)  # of each channel
    error = (np.abs(found / 65536 - expected) / largest).reshape(8, count // 8, -1).max(axis=(1, 2))
    assert error.max() < 2e-4, error
    loud = np.abs(found / 65536 - expected).reshape(8, -1).max(axis=1) / np.abs(expected).max()
    assert loud.max() < 2e-5, loud


def test_states_are_rounded_to_30_bits_of_their_largest() -> None:
    rng = np.random.default_rng(2)
    weights, parts = parameters(rng), text(rng, 300)
    rows, state = selective_rows(*parts), zero_state(parameters(rng))
    exact = np.zeros((CHANNELS, STATES))
    for i in range(300):
        state = advance(rows, i, state, weights)
        step = rows.step[i][:, None] * 2.0**-26
        b = rows.b.codes[i] * 2.0 ** (rows.b.exponent[i] - 16)
        exact = np.exp2(-step * weights.rate / 2**20) * exact + step * rows.x[i][:, None] / 65536 * b
        found = state.mantissa * np.exp2(state.exponent.astype(np.float64))[:, None]
        assert (np.abs(found - exact).max(axis=1) <= 2e-5 * np.abs(exact).max(axis=1)).all()
        assert (np.abs(state.mantissa).max(axis=1) >= 1 << 28).all()


def test_extremes_stay_within_64_bits() -> None:
    rng = np.random.default_rng(3)
    for rate in (0, (1 << 30) - 1):
        weights = SelectiveWeights(np.full((2, 256), rate), np.array([LIMIT, -LIMIT]))
        signs = rng.choice([-1, 1], (200, 2 + 256 + 256 + 2))
        x, b, c, steps = np.split(signs * LIMIT, [2, 258, 514], axis=1)
        rows = selective_rows(x, b, c, np.abs(steps))
        assert np.abs(whole(rows, weights)).max() == LIMIT
        assert int(rows.step.max()) * LIMIT + (1 << 15) < 2**63


def test_a_state_without_inputs_comes_to_rest_at_zero() -> None:
    weights = SelectiveWeights(np.full((1, 4), 1 << 20), np.zeros(1, np.int64))
    x = np.zeros((200, 1), np.int64)
    x[0] = 1 << 20
    ones = np.full((200, 4), 1 << 16)
    rows = selective_rows(x, ones, ones, np.full((200, 1), 5 << 16))
    found = whole(rows, weights)
    assert found[0, 0] > 0
    assert not found[20:].any()
