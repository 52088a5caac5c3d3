"""HGRN's gated recurrence in integers, normative position by position (docs/numerics.md, section 8).

Each channel's state moves by a share of its own towards what the position brings, so no sum over a block's rows stands
for the state: it is rounded at every position, in their order. It never passes the largest input before it.
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
"""Of a state: an input has 16, which a share of 2^-16 or less would hardly move."""
_LOW_BITS: Final = STATE_FRACTION - 16
_RESULT_SHIFT: Final = STATE_FRACTION - 16


class RecurrenceRows(NamedTuple):
    """Rows as the cache keeps them.

    Attributes
    ----------
    value : int64 (M, channels)
        What the state moves towards, Q16, of 32 bits.
    share : int64 (M, channels)
        By which share of the way, 1 - f in Q30, from 0 to 2^30.
    """

    value: Int
    share: Int


def cached_rows(parts: Sequence[Int]) -> RecurrenceRows:
    """Return rows from the arrays that a cache has them in."""
    return RecurrenceRows(*parts)


def recurrence_rows(x: NDArray[np.integer], forget: NDArray[np.integer], room: Int) -> RecurrenceRows:
    """Return rows as the cache keeps them.

    Parameters
    ----------
    x, forget : integer (M, channels)
        The input before SiLU and the forget gate before its sigmoid, Q16.
    room : int64 (channels,)
        What the lower bound b of the forget gate leaves, 1 - b in Q30, from 0 to 2^30.
    """
    return RecurrenceRows(silu(x), rshift(room * (ONE - sigmoid(forget)), 30))


def zero_state(channels: int) -> Int:
    """Return the state before the first position."""
    return np.zeros(channels, np.int64)


def advance(rows: RecurrenceRows, i: int, state: Int) -> Int:
    """Return the state behind row i, int64 (channels,) in Q32: ``rshift(f * state + (1 - f) * value, 30)``.

    The sum has up to 78 bits. The state's upper 32 bits and its lower 16 are multiplied apart, which is exact.
    """
    share, kept = rows.share[i], ONE - rows.share[i]
    upper = (state >> _LOW_BITS) * kept + rows.value[i] * share
    lower = (state & (1 << _LOW_BITS) - 1) * kept
    below = 30 - _LOW_BITS
    rest = (upper & (1 << below) - 1) << _LOW_BITS
    return np.asarray((upper >> below) + rshift(rest + lower, 30))


def recurrence_row(state: Int) -> Int:
    """Return the result of a row from the state behind it, int64 (channels,), Q16."""
    return rshift(state, _RESULT_SHIFT)
