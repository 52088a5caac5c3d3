"""The gated delta rule in integer arithmetic, defined by blocks of 64 positions (docs/spec/numerics.md, section 8).

As in a scan (`intact.numerics.scan`), the state is rounded only at the ends of blocks. Inside a block, a row is a sum
over the block's earlier rows and the state at the block's start. A row writes its value minus the value that the state
already holds under its key; this difference is rounded once and cached.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from intact.numerics.convolve import row_codes
from intact.numerics.fixed import rshift, sat32
from intact.numerics.functions import exp2_neg_fine, inverse_sqrt, sigmoid
from intact.numerics.scan import decays, softplus

Int = NDArray[np.int64]
Number = TypeVar("Number", bound=np.generic)

KEY_FRACTION: Final = 15
KEY_LIMIT: Final = (1 << KEY_FRACTION) - 1
STATE_FRACTION: Final = 20
WEIGHT_FRACTION: Final = 24
"""Fraction bits of the weights with which a block's rows enter each other's results."""
KEY_EPSILON: Final = 4295
"""Epsilon added to a key's sum of squares: 10^-6 in Q32."""


class DeltaShape(NamedTuple):
    """The sizes of a layer with the gated delta rule.

    Attributes
    ----------
    heads, width : int
        Number of value heads, and the width of each.
    groups, states : int
        Number of key and query heads, and the width of each, which is also the number of rows of a head's state.
    tiled : bool
        If true, head h reads key h mod `groups`; otherwise consecutive heads share a key.
    """

    heads: int
    width: int
    groups: int
    states: int
    tiled: bool = False

    @property
    def inner(self) -> int:
        """Total number of value columns."""
        return self.heads * self.width

    @property
    def columns(self) -> int:
        """Number of columns of all keys together, and of all queries."""
        return self.groups * self.states

    @property
    def channels(self) -> int:
        """Number of channels of the convolution: queries, keys and values, in this order."""
        return self.inner + 2 * self.columns

    def of_heads(self, keys: NDArray[Number]) -> NDArray[Number]:
        """Expand an array (..., groups * states) to the part that each head reads: (..., heads, states)."""
        heads = np.arange(self.heads)
        read = heads % self.groups if self.tiled else heads // (self.heads // self.groups)
        found: NDArray[Number] = keys.reshape(*keys.shape[:-1], self.groups, self.states)[..., read, :]
        return found


class DeltaWeights(NamedTuple):
    """The layer's parameters as integers.

    Attributes
    ----------
    taps : int64 (channels, L)
        The convolution, Q20; the last column belongs to the position itself.
    step_bias : int64 (heads,)
        dt_bias, Q16.
    rate : int64 (heads,)
        The decay rate of each head, -A log2(e) in Q20.
    """

    taps: Int
    step_bias: Int
    rate: Int


class DeltaRows(NamedTuple):
    """Rows of one block as cached.

    Attributes
    ----------
    query, key : int64 (M, groups * states)
        Unit vectors per head, Q15.
    step : int64 (M, heads)
        In Q26.
    written : int64 (M, inner)
        The update that each row adds to the state under its key, Q20.
    """

    query: Int
    key: Int
    step: Int
    written: Int


def unit_rows(x: Int, width: int) -> Int:
    """Normalise every `width` columns of rows (M, n) in Q16 to a vector of unit length, Q15.

    Computes ``x / sqrt(sum(x^2) + 10^-6)`` from 15 bits and a sign of each number, with one exponent per head.
    """
    codes, exponent = row_codes(x.reshape(-1, width))
    squares = (codes * codes).sum(axis=1) + rshift(np.full(len(codes), KEY_EPSILON), 2 * exponent)
    r, p = (np.array(part, np.int64) for part in zip(*(inverse_sqrt(max(int(n), 1)) for n in squares), strict=True))
    unit = rshift(codes * r[:, None], (61 - KEY_FRACTION - p)[:, None])
    return np.clip(unit, -KEY_LIMIT, KEY_LIMIT).reshape(x.shape)


def delta_rows(mixed: Int, steps: NDArray[np.integer], step_bias: Int, shape: DeltaShape) -> tuple[Int, Int, Int, Int]:
    """Return queries, keys, steps and values of rows; the first three are cached.

    Parameters
    ----------
    mixed : int64 (M, channels)
        The result of `scan.convolved` for each row, Q16.
    steps : integer (M, heads)
        The projection dt, Q16.
    """
    query, key, value = np.split(mixed, [shape.columns, 2 * shape.columns], axis=1)
    step = softplus(sat32(np.asarray(steps, np.int64) + step_bias))
    return unit_rows(query, shape.states), unit_rows(key, shape.states), step, value


def written_row(
    rows: DeltaRows, value: Int, beta: NDArray[np.integer], state: Int, rate: Int, shape: DeltaShape
) -> Int:
    """Return the update that the newest row of a block writes, int64 (inner,), Q20.

    Parameters
    ----------
    rows : DeltaRows
        The block's rows up to and including this one; the row's own `written` is not read.
    value : int64 (inner,)
        In Q16.
    beta : integer (heads,)
        Write strength before the sigmoid, Q16.
    state : int64 (heads, states, width)
        The state before the block, Q20.
    """
    held = _read(rows, rows.key[-1], state, rate, shape, len(rows.key) - 1)
    wanted = sat32((value.reshape(held.shape) << (STATE_FRACTION - 16)) - held)
    return rshift(sigmoid(np.asarray(beta, np.int64))[:, None] * wanted, 30).reshape(-1)


def delta_row(rows: DeltaRows, state: Int, rate: Int, shape: DeltaShape) -> Int:
    """Return the result of the newest row of a block, int64 (inner,), Q16 and saturated."""
    found = _read(rows, rows.query[-1], state, rate, shape, len(rows.key))
    return sat32(rshift(found, STATE_FRACTION - 16)).reshape(-1)


def end_block(rows: DeltaRows, state: Int, rate: Int, shape: DeltaShape) -> Int:
    """Return the state after a block of 64 rows: the decayed previous state plus each row's update."""
    total = decays(rows.step, rate)
    decay = exp2_neg_fine(total[-1] - total)
    keys = rshift(shape.of_heads(rows.key) * decay[..., None], KEY_FRACTION + 30 - WEIGHT_FRACTION)
    written = rows.written.reshape(len(keys), shape.heads, shape.width)
    added = np.einsum("thn,thp->hnp", keys, written)
    kept = rshift(state * exp2_neg_fine(total[-1])[:, None, None], 30)
    return sat32(kept + rshift(added, WEIGHT_FRACTION))


def _read(rows: DeltaRows, vector: Int, state: Int, rate: Int, shape: DeltaShape, count: int) -> Int:
    """Read the state before the block and the first `count` rows under the newest row's key: (heads, width), Q20."""
    total = decays(rows.step, rate)
    own = shape.of_heads(vector)
    before = sat32(rshift(np.einsum("hnp,hn->hp", state, own), KEY_FRACTION))
    before = rshift(before * exp2_neg_fine(total[-1])[:, None], 30)
    dots = (shape.of_heads(rows.key[:count]) * own).sum(axis=2)
    weights = rshift(dots * exp2_neg_fine(total[-1] - total[:count]), 2 * KEY_FRACTION + 30 - WEIGHT_FRACTION)
    inside = np.einsum("th,thp->hp", weights, rows.written[:count].reshape(count, shape.heads, shape.width))
    return before + rshift(inside, WEIGHT_FRACTION)
