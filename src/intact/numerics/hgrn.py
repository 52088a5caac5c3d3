"""HGRN's gated recurrence in integer arithmetic, defined position by position (docs/spec/numerics.md, section 8).

Each channel's state moves towards the position's value by a share of its own, so the state cannot be replaced by a sum
over a block's rows: it is rounded at every position, in order. Its magnitude never exceeds the largest input's
magnitude so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact.numerics.fixed import rshift
from intact.numerics.functions import ONE, sigmoid
from intact.numerics.gate import silu

Int = NDArray[np.int64]

STATE_FRACTION: Final = 32
"""Fraction bits of a state. Inputs have 16, too few here: a share of 2^-16 or less would hardly change the state."""
_LOW_BITS: Final = STATE_FRACTION - 16
_RESULT_SHIFT: Final = STATE_FRACTION - 16


class RecurrenceRows(NamedTuple):
    """Rows as cached.

    Attributes
    ----------
    value : int64 (M, channels)
        The value towards which the state moves, Q16, 32 bits.
    share : int64 (M, channels)
        The fraction of the distance that it moves, 1 - f in Q30, from 0 to 2^30.
    """

    value: Int
    share: Int


def cached_rows(parts: Sequence[Int]) -> RecurrenceRows:
    """Build rows from the arrays of a cache."""
    return RecurrenceRows(*parts)


def recurrence_rows(x: NDArray[np.integer], forget: NDArray[np.integer], room: Int) -> RecurrenceRows:
    """Compute rows in their cached form.

    Parameters
    ----------
    x, forget : integer (M, channels)
        The input before SiLU and the forget gate before its sigmoid, Q16.
    room : int64 (channels,)
        1 - b in Q30, from 0 to 2^30, where b is the lower bound of the forget gate.
    """
    return RecurrenceRows(silu(x), rshift(room * (ONE - sigmoid(forget)), 30))


def zero_state(channels: int) -> Int:
    """Return the state before the first position."""
    return np.zeros(channels, np.int64)


def advance(rows: RecurrenceRows, i: int, state: Int) -> Int:
    """Return the state after row i, int64 (channels,) in Q32: ``rshift(f * state + (1 - f) * value, 30)``.

    The sum has up to 78 bits. The state's upper 32 bits and its lower 16 are multiplied separately, which is exact.
    """
    share, kept = rows.share[i], ONE - rows.share[i]
    upper = (state >> _LOW_BITS) * kept + rows.value[i] * share
    lower = (state & (1 << _LOW_BITS) - 1) * kept
    below = 30 - _LOW_BITS
    rest = (upper & (1 << below) - 1) << _LOW_BITS
    return np.asarray((upper >> below) + rshift(rest + lower, 30))


def recurrence_row(state: Int) -> Int:
    """Return the result of a row from the state after it, int64 (channels,), Q16."""
    return rshift(state, _RESULT_SHIFT)
