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
from intact.numerics.scan import PART_LIMIT, RATE_FRACTION, STEP_FRACTION, RecurrentState, softplus

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
    whole = step * rows.x[i]
    drop = np.maximum(bitlen(np.abs(whole)) - INPUT_BITS, 0)
    added = rshift(whole, drop)[:, None] * rows.b.codes[i]
    parts = (added, drop + rows.b.exponent[i] - (STEP_FRACTION + 32)), (kept, state.exponent - 30)
    sizes = np.array([bitlen(np.abs(part).max(axis=1)) for part, _ in parts])
    tops = np.where(sizes > 0, sizes + np.array([place for _, place in parts]), np.iinfo(np.int64).min)
    new = np.where(sizes.any(axis=0), tops.max(axis=0) - 30, 0)
    moved = [np.where(part != 0, shift(part, (new - place)[:, None]), 0) for part, place in parts]
    return RecurrentState(sat32(moved[0] + moved[1]), new)


def selective_row(rows: SelectiveRows, i: int, state: RecurrentState, weights: SelectiveWeights) -> Int:
    """Return the result of row i from the state behind it, int64 (channels,), Q16 and saturated."""
    read = (state.mantissa * rows.c.codes[i]).sum(axis=1)
    drop = np.maximum(bitlen(np.abs(read)) - 31, 0)
    held = shift(rshift(read, drop), -4 - drop - state.exponent - rows.c.exponent[i])
    through = rshift(weights.skip * rows.x[i], 12)
    parts = (np.clip(part, -PART_LIMIT, PART_LIMIT) for part in (held, through))
    return sat32(rshift(sum(parts, start=np.int64(0)), 4))
