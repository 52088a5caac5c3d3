"""Mamba-3's trapezoidal scan in integer arithmetic, defined position by position (docs/spec/numerics.md, section 8).

A position adds its own input and a share of the previous position's input, and an accumulating angle rotates keys and
queries. The angle is an integer modulo 2^32, a fraction of a turn, so it never drifts. The columns of a channel's state
share an exponent, as in Mamba-1's scan (`intact.numerics.selective`).
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact.numerics.convolve import ConvolutionRows, row_codes
from intact.numerics.fixed import rshift, sat32
from intact.numerics.functions import LN2, LOG2E, ONE, exp2_neg_fine, log2_each, sigmoid
from intact.numerics.rope import rotate, sine_cosine
from intact.numerics.scan import RATE_FRACTION, RATE_LIMIT, STEP_FRACTION, STEP_LIMIT, RecurrentState, join_parts
from intact.numerics.selective import input_part, read_states

Int = NDArray[np.int64]

STATE_BITS: Final = 29
"""Number of bits of the largest of a state's three parts, so that their sum has 31 bits."""
SLOW_FRACTION: Final = 29
"""Fraction bits of rates up to 1, which result from negative numbers; larger rates have `RATE_FRACTION`."""
PACE_FRACTION: Final = 20
"""Fraction bits of the inputs of steps and rates; rows have 16."""
TURN: Final = 1 << 32


class TrapezoidalShape(NamedTuple):
    """The sizes of a layer.

    Attributes
    ----------
    heads, width : int
        Number of heads, and of channels x per head.
    groups, states : int
        Number of groups of heads that share B and C, and of columns of B, C and a head's state.
    angles : int
        Number of pairs of columns that are rotated, at most half of the columns; the other columns are unchanged.
    """

    heads: int
    width: int
    groups: int
    states: int
    angles: int

    @property
    def inner(self) -> int:
        """Number of channels of all heads."""
        return self.heads * self.width

    @property
    def columns(self) -> int:
        """Number of columns of B, and of C, over all groups."""
        return self.groups * self.states

    @property
    def controls(self) -> int:
        """Number of controls per position: dt, A and the share of each head, then the angles."""
        return 3 * self.heads + self.angles


class TrapezoidalWeights(NamedTuple):
    """The layer's parameters as integers.

    Attributes
    ----------
    step_bias, skip : int64 (heads,)
        dt_bias, Q20, and D, Q16.
    b_bias, c_bias : int64 (heads, states)
        Added to B and C after their norms, Q16.
    slowest : int
        The lowest rate, in bits and Q29.
    """

    step_bias: Int
    b_bias: Int
    c_bias: Int
    skip: Int
    slowest: int


class TrapezoidalRows(NamedTuple):
    """Rows as cached, all in Q16 and 32 bits.

    Attributes
    ----------
    x : int64 (M, heads * width)
    b, c : int64 (M, groups * states)
    controls : int64 (M, 3 * heads + angles)
        dt, A and the share of each head, before their functions are applied; then the angles.
    """

    x: Int
    b: Int
    c: Int
    controls: Int


class TrapezoidalState(NamedTuple):
    """The state after a position.

    Attributes
    ----------
    mantissa : int64 (heads, width, states)
        32 bits, times 2^`exponent`.
    exponent : int64 (heads, width)
    angle : int64 (heads, angles)
        Fractions of a turn in 0 to 2^32 - 1.
    """

    mantissa: Int
    exponent: Int
    angle: Int


def zero_state(shape: TrapezoidalShape) -> TrapezoidalState:
    """Return the state before the first position."""
    sizes = (shape.heads, shape.width, shape.states), (shape.heads, shape.width), (shape.heads, shape.angles)
    return TrapezoidalState(*(np.zeros(size, np.int64) for size in sizes))


def slowest_rate(floor: float) -> int:
    """Return the lowest rate of decay for 0 < floor <= 1, in bits and Q29."""
    return math.floor(floor * (LOG2E / ONE) * (1 << SLOW_FRACTION) + 0.5)


def step_size(dt: Int) -> Int:
    """Return ln(1 + exp(dt)) in Q26, at most `STEP_LIMIT`, for dt in Q20 with fewer than 37 bits.

    This is more precise than `intact.numerics.scan.softplus`, which rounds dt to Q16.
    """
    e = exp2_neg_fine(rshift(np.minimum(np.abs(dt), 64 << PACE_FRACTION) * LOG2E, PACE_FRACTION))
    log = log2_each(ONE + e) - (30 << 28)
    step: Int = np.minimum((np.maximum(dt, 0) << (STEP_FRACTION - PACE_FRACTION)) + rshift(log * LN2, 32), STEP_LIMIT)
    return step


def decay(step: Int, a: Int, slowest: int) -> Int:
    """Return the number of bits by which a position decays, Q30: step times t(a) log2(e).

    t is 1 + a for a >= 0 (at most 709), otherwise 1 / (1 - a), but at least the slowest rate.

    Parameters
    ----------
    step : int64
        In Q26, below 2^32.
    a : int64
        In Q20, fewer than 37 bits.
    """
    one = 1 << PACE_FRACTION
    fast = np.minimum(rshift(np.minimum(one + a, 710 * one) * LOG2E, 30), RATE_LIMIT - 1)
    slow = np.maximum((LOG2E << (PACE_FRACTION - 1)) // (one - np.minimum(a, 0)), slowest)
    places = np.where(a >= 0, RATE_FRACTION, SLOW_FRACTION) + STEP_FRACTION - 30
    bits: Int = rshift(step * np.where(a >= 0, fast, slow), places)
    return bits


def tanh(x: Int) -> Int:
    """Return tanh(x) in Q30 for 32-bit x in Q16, within 2^-22; more precise than `intact.numerics.functions.tanh`."""
    e = exp2_neg_fine(rshift(np.minimum(np.abs(x), 1 << 20) * LOG2E, 15))
    size = ((ONE - e) << 30) // (ONE + e)
    found: Int = np.where(x < 0, -size, size)
    return found


def turned(row: Int, bias: Int, angle: Int) -> ConvolutionRows:
    """Return rotated keys or queries of all heads: codes (heads, states) and exponents (heads,).

    Parameters
    ----------
    row : int64 (groups * states,)
        B or C, Q16.
    bias : int64 (heads, states)
        In Q16.
    angle : int64 (heads, angles)
        Rotation angles of the first pairs of neighbouring columns.
    """
    heads, states = bias.shape
    groups = len(row) // states
    values = sat32(np.repeat(row.reshape(groups, states), heads // groups, axis=0) + bias)
    turns = angle.astype(np.uint64).reshape(-1) << np.uint64(32)
    sine, cosine = (part.reshape(angle.shape) for part in sine_cosine(np.ones(1, np.int64), turns))
    return row_codes(rotate(values[:, None], sine, cosine, True)[:, 0])


def advance(
    rows: TrapezoidalRows, i: int, state: TrapezoidalState, weights: TrapezoidalWeights, shape: TrapezoidalShape
) -> TrapezoidalState:
    """Return the state after row i from the state after row i - 1; row 0 is the start of a sequence."""
    dt, a, share = rows.controls[i, : 3 * shape.heads].reshape(3, shape.heads)
    step = step_size((dt << 4) + weights.step_bias)
    kept = exp2_neg_fine(decay(step, a << 4, weights.slowest))
    own = sigmoid(share)
    now, before = rshift(own * step, 30), rshift(rshift((ONE - own) * step, 30) * kept, 30)
    turn = rshift(tanh(rows.controls[i, 3 * shape.heads :]) * step[:, None], STEP_FRACTION - 1)
    angle = (state.angle + turn) & (TURN - 1)
    parts = [(state.mantissa * kept[:, None, None], state.exponent - 30)]
    inputs = [(i, now, angle)] if i == 0 else [(i - 1, before, state.angle), (i, now, angle)]
    for row, weight, at in inputs:
        key, x = turned(rows.b[row], weights.b_bias, at), rows.x[row].reshape(shape.heads, shape.width)
        parts.append(input_part(weight[:, None], x, key.codes[:, None], key.exponent[:, None]))
    return TrapezoidalState(*join_parts(parts, STATE_BITS), angle)


def trapezoidal_row(
    rows: TrapezoidalRows, i: int, state: TrapezoidalState, weights: TrapezoidalWeights, shape: TrapezoidalShape
) -> Int:
    """Return the result of row i from the state after it, int64 (heads * width,), Q16 and saturated."""
    query = turned(rows.c[i], weights.c_bias, state.angle)
    x = rows.x[i].reshape(shape.heads, shape.width)
    held = RecurrentState(state.mantissa, state.exponent)
    codes = ConvolutionRows(query.codes[:, None], query.exponent[:, None])
    return read_states(held, codes, weights.skip[:, None], x).reshape(-1)
