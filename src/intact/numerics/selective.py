"""Mamba-1's selective scan in integer arithmetic, defined position by position (docs/spec/numerics.md, section 8).

Each state of each channel has its own decay rate, so the state cannot be replaced by a sum over a block's rows as in
Mamba-2's scan (`intact.numerics.scan`): it is rounded at every position, in order. The states of a channel share an
exponent, which follows the largest of them.
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
"""Number of bits of a step times x, before multiplication by B's codes."""


class SelectiveShape(NamedTuple):
    """The sizes of a layer.

    Attributes
    ----------
    channels, states : int
        Number of channels of x, and of states per channel, which are the columns of B and C.
    rank : int
        Number of columns from which dt is projected.
    """

    channels: int
    states: int
    rank: int


class SelectiveWeights(NamedTuple):
    """The layer's parameters as integers.

    Attributes
    ----------
    rate : int64 (channels, states)
        The decay rate of each state, -A log2(e) in Q20.
    skip : int64 (channels,)
        D, Q16.
    """

    rate: Int
    skip: Int


class SelectiveRows(NamedTuple):
    """Rows as cached: x in Q16, B and C as codes and exponents, and steps.

    Attributes
    ----------
    x : int64 (M, channels)
        32 bits.
    b, c : ConvolutionRows
        Codes (M, states).
    step : int64 (M, channels)
        In Q26.
    """

    x: Int
    b: ConvolutionRows
    c: ConvolutionRows
    step: Int


def cached_rows(parts: Sequence[Int]) -> SelectiveRows:
    """Build rows from the arrays of a cache: x; codes and exponents of B and of C; steps."""
    return SelectiveRows(parts[0], ConvolutionRows(*parts[1:3]), ConvolutionRows(*parts[3:5]), parts[5])


def selective_rows(x: Int, b: Int, c: Int, steps: NDArray[np.integer]) -> SelectiveRows:
    """Compute rows in their cached form.

    Parameters
    ----------
    x, b, c : int64 (M, channels), (M, states) twice
        In Q16.
    steps : integer (M, channels)
        dt before softplus, Q16.
    """
    return SelectiveRows(x, row_codes(b), row_codes(c), softplus(steps))


def zero_state(weights: SelectiveWeights) -> RecurrentState:
    """Return the state before the first position."""
    return RecurrentState(np.zeros(weights.rate.shape, np.int64), np.zeros(len(weights.rate), np.int64))


def advance(rows: SelectiveRows, i: int, state: RecurrentState, weights: SelectiveWeights) -> RecurrentState:
    """Return the state after row i: the decayed previous state plus the row's contribution.

    `mantissa` (channels, states) has 32 bits; `exponent` (channels,) is shared by the states of a channel.
    """
    step = rows.step[i]
    kept = state.mantissa * exp2_neg_fine(rshift(step[:, None] * weights.rate, RATE_FRACTION + STEP_FRACTION - 30))
    added = input_part(step, rows.x[i], rows.b.codes[i], rows.b.exponent[i])
    return join_parts([added, (kept, state.exponent - 30)], 30)


def input_part(step: Int, x: Int, codes: Int, exponent: Int) -> tuple[Int, Int]:
    """Return a position's contribution to the states, step times x times codes, and its exponents.

    Parameters
    ----------
    step, x : int64 (*n)
        Q26, below 2^32, and Q16, 32 bits.
    codes : int64, broadcast to (*n, states)
    exponent : int64, broadcast to (*n)
    """
    whole = step * x
    drop = np.maximum(bitlen(np.abs(whole)) - INPUT_BITS, 0)
    return rshift(whole, drop)[..., None] * codes, drop + exponent - (STEP_FRACTION + 32)


def selective_row(rows: SelectiveRows, i: int, state: RecurrentState, weights: SelectiveWeights) -> Int:
    """Return the result of row i from the state after it, int64 (channels,), Q16 and saturated."""
    return read_states(state, ConvolutionRows(rows.c.codes[i], rows.c.exponent[i]), weights.skip, rows.x[i])


def read_states(state: RecurrentState, c: ConvolutionRows, skip: Int, x: Int) -> Int:
    """Return the sums of states times C, plus D times x, Q16 and saturated.

    Parameters
    ----------
    state : RecurrentState
        Shapes (*n, states) and (*n).
    c : ConvolutionRows
        Broadcast against the state.
    skip, x : int64, broadcast to (*n)
        In Q16.
    """
    read = (state.mantissa * c.codes).sum(axis=-1)
    drop = np.maximum(bitlen(np.abs(read)) - 31, 0)
    held = shift(rshift(read, drop), -4 - drop - state.exponent - c.exponent)
    through = rshift(skip * x, 12)
    parts = (np.clip(part, -PART_LIMIT, PART_LIMIT) for part in (held, through))
    return sat32(rshift(sum(parts, start=np.int64(0)), 4))
