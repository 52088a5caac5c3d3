"""Mamba-2's state-space layer in integers, defined by blocks of 64 positions (docs/spec/numerics.md, section 8).

Positions are divided into blocks at multiples of 64. The state is rounded only at the ends of blocks; inside a block, a
row is a sum over the block's earlier rows and the state at the block's start, all in exact integer sums. A row's bits
therefore do not depend on the number of rows computed together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact.numerics.convolve import TAP_FRACTION, ConvolutionRows, row_codes
from intact.numerics.fixed import bitlen, rshift, sat32, shift
from intact.numerics.functions import LN2, LOG2E, ONE, exp2_neg, exp2_neg_fine, log2_each
from intact.numerics.gate import silu

Int = NDArray[np.int64]

BLOCK: Final = 64
"""Number of positions per block."""
MOST_STATES: Final = 256
"""Maximum number of columns of a head's state; it keeps sums over them below 2^55."""
STEP_FRACTION: Final = 26
STEP_LIMIT: Final = (1 << 32) - 1
"""Largest step in Q26: steps are below 64."""
RATE_FRACTION: Final = 20
RATE_LIMIT: Final = 1 << 30
"""Exclusive bound on rates, in Q20 and base 2: a head's rate can be up to 709."""
PART_LIMIT: Final = 1 << 40
"""The three parts of a result are clipped to this magnitude, in Q20, before they are added."""


class ScanShape(NamedTuple):
    """The sizes of a state-space layer.

    Attributes
    ----------
    heads, width : int
        Number of heads, and of channels x per head.
    groups, states : int
        Number of groups of heads that share B and C, and of columns of B, C and a head's state.
    """

    heads: int
    width: int
    groups: int
    states: int

    @property
    def inner(self) -> int:
        """Number of channels of all heads."""
        return self.heads * self.width

    @property
    def channels(self) -> int:
        """Number of channels of the convolution: x, B and C, in this order."""
        return self.inner + 2 * self.groups * self.states


class ScanWeights(NamedTuple):
    """The layer's parameters as integers.

    Attributes
    ----------
    taps : int64 (channels, L)
        The convolution, Q20; the last column belongs to the position itself.
    bias : int64 (channels,)
        In Q16.
    step_bias, skip : int64 (heads,)
        dt_bias and D, Q16.
    rate : int64 (heads,)
        The decay rate of each head, -A log2(e) in Q20.
    """

    taps: Int
    bias: Int
    step_bias: Int
    rate: Int
    skip: Int


class ScanRows(NamedTuple):
    """Rows as cached: x, B and C as codes and exponents (a value is code << exponent, Q16), and steps.

    Attributes
    ----------
    x, b, c : ConvolutionRows
        Codes (M, heads * width), (M, groups * states) twice.
    step : int64 (M, heads)
        In Q26.
    """

    x: ConvolutionRows
    b: ConvolutionRows
    c: ConvolutionRows
    step: Int


def cached_rows(parts: Sequence[Int]) -> ScanRows:
    """Build rows from the arrays of a cache: codes and exponents of x, of B and of C; steps."""
    x, b, c = (ConvolutionRows(parts[i], parts[i + 1]) for i in (0, 2, 4))
    return ScanRows(x, b, c, parts[6])


class RecurrentState(NamedTuple):
    """The state after a block: 32-bit `mantissa` (heads, width, states) times 2^`exponent` (heads,)."""

    mantissa: Int
    exponent: Int


def zero_state(shape: ScanShape) -> RecurrentState:
    """Return the state before the first block."""
    return RecurrentState(np.zeros((shape.heads, shape.width, shape.states), np.int64), np.zeros(shape.heads, np.int64))


def softplus(x: NDArray[np.integer]) -> Int:
    """Return ln(1 + exp(x)), Q16 to Q26, at most `STEP_LIMIT`; |x| < 2^31."""
    x = np.asarray(x, np.int64)
    e = exp2_neg(rshift(np.abs(x) * LOG2E, 30))
    log = log2_each(ONE + e) - (30 << 28)
    step: Int = np.minimum((np.maximum(x, 0) << 10) + rshift(log * LN2, 32), STEP_LIMIT)
    return step


def convolved(rows: Sequence[tuple[Int, int]], taps: Int, bias: Int) -> Int:
    """Return one position's x, B and C, Q16: SiLU of the convolution plus its bias.

    Parameters
    ----------
    rows : sequence of (codes, exponent)
        The position's own row, then the rows before it, nearest first: all that exist, up to one per tap.
    """
    total = np.zeros(len(taps), np.int64)
    for back, (codes, exponent) in enumerate(rows):
        total += taps[:, -1 - back] * (codes << exponent)
    return silu(sat32(rshift(total, TAP_FRACTION) + bias))


def input_rows(source: NDArray[np.integer]) -> ConvolutionRows:
    """Convert rows (M, channels) that enter the convolution, Q16, to their cached form."""
    return row_codes(np.asarray(source, np.int64))


def scan_rows(mixed: Int, steps: NDArray[np.integer], step_bias: Int, shape: ScanShape) -> ScanRows:
    """Compute rows in their cached form.

    Parameters
    ----------
    mixed : int64 (M, channels)
        The result of `convolved` for each row, Q16.
    steps : integer (M, heads)
        The projection dt, Q16.
    """
    first, second = shape.inner, shape.inner + shape.groups * shape.states
    step = softplus(sat32(np.asarray(steps, np.int64) + step_bias))
    x, b, c = mixed[:, :first], mixed[:, first:second], mixed[:, second:]
    return ScanRows(row_codes(x), row_codes(b), row_codes(c), step)


def decays(step: Int, rate: Int) -> Int:
    """Return the cumulative decay from the block's start to each row, in bits and Q30: int64 (T, heads)."""
    total: Int = np.cumsum(rshift(step * rate, RATE_FRACTION + STEP_FRACTION - 30), axis=0)
    return total


def scan_row(rows: ScanRows, state: RecurrentState, weights: ScanWeights, shape: ScanShape) -> Int:
    """Return the result of the newest row of a block, int64 (heads * width,), Q16 and saturated.

    Parameters
    ----------
    rows : ScanRows
        The block's rows up to and including this one, at most 64.
    state : RecurrentState
        The state before the block.
    """
    heads, group = shape.heads, shape.heads // shape.groups
    x = rows.x.codes.reshape(-1, heads, shape.width)
    b = rows.b.codes.reshape(-1, shape.groups, shape.states)
    c, c_exponent = rows.c.codes[-1].reshape(shape.groups, shape.states), rows.c.exponent[-1]
    total = decays(rows.step, weights.rate)
    weight = rshift(exp2_neg_fine(total[-1] - total) * rows.step, 30)  # (T, heads), Q26
    dots = np.repeat((b * c).sum(axis=2), group, axis=1)
    drop = np.maximum(bitlen(np.abs(dots)) - 30, 0)
    product = rshift(dots, drop) * weight
    exponent = drop + (rows.b.exponent + rows.x.exponent)[:, None]
    common = _common(np.abs(product), exponent, 31)
    coefficients = sat32(shift(product, common - exponent))
    inside = (coefficients[:, :, None] * x).sum(axis=0)
    inside = shift(inside, (54 - common - c_exponent)[:, None])

    read = (state.mantissa * np.repeat(c, group, axis=0)[:, None, :]).sum(axis=2)
    drop = np.maximum(bitlen(np.abs(read).max(axis=1)) - 31, 0)
    before = rshift(read, drop[:, None]) * exp2_neg_fine(total[-1])[:, None]
    before = shift(before, (26 - drop - state.exponent - c_exponent)[:, None])

    through = shift(weights.skip[:, None] * x[-1], 12 - rows.x.exponent[-1])
    parts = (np.clip(part, -PART_LIMIT, PART_LIMIT) for part in (inside, before, through))
    return sat32(rshift(sum(parts, start=np.int64(0)), 4)).reshape(-1)


def end_block(rows: ScanRows, state: RecurrentState, weights: ScanWeights, shape: ScanShape) -> RecurrentState:
    """Return the state after a block of 64 rows: the decayed previous state plus each row's contribution."""
    heads, group = shape.heads, shape.heads // shape.groups
    x = rows.x.codes.reshape(-1, heads, shape.width)
    b = np.repeat(rows.b.codes.reshape(-1, shape.groups, shape.states), group, axis=1)
    total = decays(rows.step, weights.rate)
    weight = rshift(exp2_neg_fine(total[-1] - total) * rows.step, 30)
    exponent = np.repeat((rows.b.exponent + rows.x.exponent)[:, None], heads, axis=1)
    common = _common(weight, exponent, 24)
    coefficients = shift(weight, common - exponent)
    added = np.zeros_like(state.mantissa)
    for s in range(len(coefficients)):
        added += (coefficients[s][:, None] * x[s])[:, :, None] * b[s][:, None, :]
    kept = state.mantissa * exp2_neg_fine(total[-1])[:, None, None]
    return join_parts([(added, common - 58), (kept, state.exponent - 30)], 30)


def join_parts(parts: Sequence[tuple[Int, Int]], bits: int) -> RecurrentState:
    """Add parts and return 32-bit mantissas with shared exponents; the largest part gets `bits` bits.

    Parameters
    ----------
    parts : sequence of (int64 (*n, ...), int64 (*n))
        Numbers, and the exponent of each run of numbers; the result has one exponent per run.
    """
    places = np.array([place for _, place in parts])
    runs = places.shape[1:]
    sizes = np.array([bitlen(np.abs(part).reshape(*runs, -1).max(axis=-1)) for part, _ in parts])
    tops = np.where(sizes > 0, sizes + places, np.iinfo(np.int64).min)
    new = np.where(sizes.any(axis=0), tops.max(axis=0) - bits, 0)
    total = np.zeros(parts[0][0].shape, np.int64)
    for part, place in parts:
        by = (new - place).reshape(*runs, *(1,) * (part.ndim - len(runs)))
        total += np.where(part != 0, shift(part, by), 0)
    return RecurrentState(sat32(total), new)


def _common(sizes: Int, exponent: Int, bits: int) -> Int:
    """Return, for each head, the exponent for which its largest magnitude has `bits` bits; 0 if all are 0."""
    tops = np.where(sizes > 0, bitlen(sizes) + exponent, np.iinfo(np.int64).min).max(axis=0)
    return np.where((sizes > 0).any(axis=0), tops - bits, 0)
