"""Gated recurrences in integers, against floats and at their extremes (docs/spec/numerics.md, section 8)."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.numerics import hgrn
from intact.numerics.hgrn import RecurrenceRows, advance, recurrence_row, recurrence_rows, zero_state
from support.examples import examples

LIMIT = (1 << 31) - 1
ONE = 1 << 30
CHANNELS = 24


def states_of(rows: RecurrenceRows) -> np.ndarray:
    """The states of a text, position by position."""
    state, out = zero_state(rows.value.shape[1]), []
    for i in range(len(rows.value)):
        state = advance(rows, i, state)
        out.append(state)
    return np.array(out)


@pytest.mark.parametrize("slowest", [4.0, 12.0, 18.0])
def test_the_error_over_8192_tokens_does_not_grow(slowest: float) -> None:
    """Gates that forget half of a state at each position, and others that keep all but e^-18 of it."""
    rng, count = np.random.default_rng(1), 8192
    x = np.round(rng.normal(0.5, 1, (count, CHANNELS)) * 65536 * np.geomspace(0.01, 10, CHANNELS)).astype(np.int64)
    gates = np.linspace(0, slowest, CHANNELS) + rng.normal(0, 1, (count, CHANNELS))
    forget = np.round(gates * 65536).astype(np.int64)
    room = np.linspace(0.5, 1, CHANNELS)
    rows = recurrence_rows(x, forget, np.round(room * ONE).astype(np.int64))
    found = np.array([recurrence_row(state) for state in states_of(rows)]) / 65536
    value = x / 65536 / (1 + np.exp(-x / 65536))
    share = room / (1 + np.exp(forget / 65536))
    state, expected = np.zeros(CHANNELS), []
    for i in range(count):
        state = state + share[i] * (value[i] - state)
        expected.append(state)
    error = np.abs(found - np.array(expected)).reshape(8, -1).max(axis=1) / np.abs(value).max()
    assert error.max() < 2e-5, error
    assert error[4:].max() < 2 * error[:4].max(), error


@given(
    st.lists(st.tuples(st.integers(-LIMIT, LIMIT), st.integers(0, ONE)), min_size=1, max_size=12),
    st.integers(-LIMIT << 16, LIMIT << 16),
)
@examples(200)
def test_a_state_is_the_rounded_mean_of_it_and_what_comes(rows: list[tuple[int, int]], state: int) -> None:
    value, share = np.array(rows, np.int64).T[:, :, None]
    now = np.array([state])
    for i, (c, g) in enumerate(rows):
        exact = (Fraction(int(now[0])) * (ONE - g) + (c << 16) * g) / ONE
        now = advance(RecurrenceRows(value, share), i, now)
        assert int(now[0]) == (exact + Fraction(1, 2)).__floor__()
        assert abs(int(now[0])) <= LIMIT << 16


def test_extremes_stay_within_64_bits_and_the_largest_input() -> None:
    rng = np.random.default_rng(3)
    value = rng.choice([-LIMIT, LIMIT], (400, 64))
    share = rng.choice([0, 1, ONE // 2, ONE - 1, ONE], (400, 64))
    found = states_of(RecurrenceRows(value, share))
    assert np.abs(found).max() == LIMIT << 16
    assert np.abs([recurrence_row(state) for state in found]).max() == LIMIT
    for sign in (-1, 1):  # a state that is there stays there, whatever the share
        held = RecurrenceRows(np.full((5, 1), sign * LIMIT), np.array([[ONE], [0], [1], [ONE // 3], [ONE - 1]]))
        assert (states_of(held) == sign * LIMIT << 16).all()


def test_gates_at_their_extremes_keep_or_replace_the_state() -> None:
    x, room = np.full((2, 3), 5 << 16), np.array([ONE, ONE, 0])
    rows = recurrence_rows(x, np.tile([-LIMIT, LIMIT, -LIMIT], (2, 1)), room)
    assert rows.share[0].tolist() == [ONE, 0, 0]
    assert states_of(rows)[-1].tolist() == [int(rows.value[0, 0]) << 16, 0, 0]


def test_a_small_share_still_moves_a_state() -> None:
    """With 16 bits behind the point a share of 2^-17 would move no state by less than 1."""
    rows = RecurrenceRows(np.full((1 << 12, 1), 1 << 15), np.full((1 << 12, 1), ONE >> 17))
    found = states_of(rows)[-1, 0] / (1 << hgrn.STATE_FRACTION)
    assert abs(found - 0.5 * (1 - (1 - 2.0**-17) ** (1 << 12))) < 1e-6
