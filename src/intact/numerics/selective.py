"""Mamba-1's selective scan in integers, normative position by position (docs/numerics.md, section 8).

Each channel forgets each of its states at a rate of its own, so no sum over a block's rows stands for the state as in
Mamba-2's scan (`intact.numerics.scan`): the state is rounded at every position, in their order. A channel's states
share an exponent, which follows their largest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact.numerics.convolve import ConvolutionRows, row_codes
from intact.numerics.fixed import bitlen, rshift, sat32, shift
from intact.numerics.functions import exp2_neg_fine
from intact.numerics.scan import PART_LIMIT, RATE_FRACTION, STEP_FRACTION, RecurrentState, join_parts, softplus

Int = NDArray[np.int64]

INPUT_BITS: Final = 47
"""Of a step times x, which B's codes multiply."""


class SelectiveShape(NamedTuple):
    """The sizes of a layer.

    Attributes
    ----------
    channels, states : int
        The channels of x, and the states of each: the columns of B and C.
    rank : int
        The columns that dt is projected from.
    """

    channels: int
    states: int
    rank: int


class SelectiveWeights(NamedTuple):
    """The layer's parameters as integers.

    Attributes
    ----------
    rate : int64 (channels, states)
        How fast each state forgets, -A log2(e) in Q20.
    skip : int64 (channels,)
        D, Q16.
    """

    rate: Int
    skip: Int


class SelectiveRows(NamedTuple):
    """Rows as the cache keeps them: x in Q16, B and C as codes and exponents, steps.

    Attributes
    ----------
    x : int64 (M, channels)
        Of 32 bits.
    b, c : ConvolutionRows
        Codes (M, states).
    step : int64 (M, channels)
        Q26.
    """

    x: Int
    b: ConvolutionRows
    c: ConvolutionRows
    step: Int


def cached_rows(parts: Sequence[Int]) -> SelectiveRows:
    """Return rows from the arrays that a cache has them in: x; codes and exponents of B, of C; steps."""
    return SelectiveRows(parts[0], ConvolutionRows(*parts[1:3]), ConvolutionRows(*parts[3:5]), parts[5])


def selective_rows(x: Int, b: Int, c: Int, steps: NDArray[np.integer]) -> SelectiveRows:
    """Return rows as the cache keeps them.

    Parameters
    ----------
    x, b, c : int64 (M, channels), (M, states) twice
        Q16.
    steps : integer (M, channels)
        dt before softplus, Q16.
    """
    return SelectiveRows(x, row_codes(b), row_codes(c), softplus(steps))


def zero_state(weights: SelectiveWeights) -> RecurrentState:
    """Return the state before the first position."""
    return RecurrentState(np.zeros(weights.rate.shape, np.int64), np.zeros(len(weights.rate), np.int64))


def advance(rows: SelectiveRows, i: int, state: RecurrentState, weights: SelectiveWeights) -> RecurrentState:
    """Return the state behind row i: that before it, decayed, and what the row adds.

    `mantissa` (channels, states) has 32 bits, `exponent` (channels,) is the channel's.
    """
    step = rows.step[i]
    kept = state.mantissa * exp2_neg_fine(rshift(step[:, None] * weights.rate, RATE_FRACTION + STEP_FRACTION - 30))
    added = input_part(step, rows.x[i], rows.b.codes[i], rows.b.exponent[i])
    return join_parts([added, (kept, state.exponent - 30)], 30)


def input_part(step: Int, x: Int, codes: Int, exponent: Int) -> tuple[Int, Int]:
    """Return what a position adds to states: step times x times codes, and its exponents.

    Parameters
    ----------
    step, x : int64 (*n)
        Q26, below 2^32, and Q16, of 32 bits.
    codes : int64, broadcast to (*n, states)
    exponent : int64, broadcast to (*n)
    """
    whole = step * x
    drop = np.maximum(bitlen(np.abs(whole)) - INPUT_BITS, 0)
    return rshift(whole, drop)[..., None] * codes, drop + exponent - (STEP_FRACTION + 32)


def selective_row(rows: SelectiveRows, i: int, state: RecurrentState, weights: SelectiveWeights) -> Int:
    """Return the result of row i from the state behind it, int64 (channels,), Q16 and saturated."""
    return read_states(state, ConvolutionRows(rows.c.codes[i], rows.c.exponent[i]), weights.skip, rows.x[i])


def read_states(state: RecurrentState, c: ConvolutionRows, skip: Int, x: Int) -> Int:
    """Return the sums of states times C, plus D times x, Q16 and saturated.

    Parameters
    ----------
    state : RecurrentState
        (*n, states) and (*n).
    c : ConvolutionRows
        Broadcast against these.
    skip, x : int64, broadcast to (*n)
        Q16.
    """
    read = (state.mantissa * c.codes).sum(axis=-1)
    drop = np.maximum(bitlen(np.abs(read)) - 31, 0)
    held = shift(rshift(read, drop), -4 - drop - state.exponent - c.exponent)
    through = rshift(skip * x, 12)
    parts = (np.clip(part, -PART_LIMIT, PART_LIMIT) for part in (held, through))
    return sat32(rshift(sum(parts, start=np.int64(0)), 4))
