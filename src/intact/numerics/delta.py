"""The gated delta rule in integers, normative by blocks of 64 positions (docs/numerics.md, section 8).

As in a scan (`intact.numerics.scan`) the state is rounded at the ends of blocks alone, and inside a block a row is a
sum over the block's rows before it and the state at the block's start. What a row writes, its value less what the state
already holds under its key, is rounded once and kept.
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
"""Of the factors that rows of a block enter each other's results with."""
KEY_EPSILON: Final = 4295
"""Added to a key's sum of squares: 10^-6 in Q32."""


class DeltaShape(NamedTuple):
    """The sizes of a layer with the gated delta rule.

    Attributes
    ----------
    heads, width : int
        The heads of values, and the width of each.
    groups, states : int
        The heads of keys and queries, and the width of each: a head's state has so many rows.
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
        """The values of all heads."""
        return self.heads * self.width

    @property
    def columns(self) -> int:
        """The columns of all keys, and of all queries."""
        return self.groups * self.states

    @property
    def channels(self) -> int:
        """The channels that the convolution sees: queries, keys and values, in this order."""
        return self.inner + 2 * self.columns

    def of_heads(self, keys: NDArray[Number]) -> NDArray[Number]:
        """Return what each head reads of something (..., groups * states): (..., heads, states)."""
        heads = np.arange(self.heads)
        read = heads % self.groups if self.tiled else heads // (self.heads // self.groups)
        found: NDArray[Number] = keys.reshape(*keys.shape[:-1], self.groups, self.states)[..., read, :]
        return found


class DeltaWeights(NamedTuple):
    """The layer's parameters as integers.

    Attributes
    ----------
    taps : int64 (channels, L)
        The convolution, Q20; the last column is that of the position itself.
    step_bias : int64 (heads,)
        dt_bias, Q16.
    rate : int64 (heads,)
        How fast a head forgets, -A log2(e) in Q20.
    """

    taps: Int
    step_bias: Int
    rate: Int


class DeltaRows(NamedTuple):
    """Rows of one block as the cache keeps them.

    Attributes
    ----------
    query, key : int64 (M, groups * states)
        Of unit length in each head, Q15.
    step : int64 (M, heads)
        Q26.
    written : int64 (M, inner)
        What each row adds to the states under its key, Q20.
    """

    query: Int
    key: Int
    step: Int
    written: Int


def unit_rows(x: Int, width: int) -> Int:
    """Return each `width` columns of rows (M, n) of Q16 as a vector of unit length, Q15.

    ``x / sqrt(sum(x^2) + 10^-6)``, from the 15 bits and a sign of each number under the exponent of its head.
    """
    codes, exponent = row_codes(x.reshape(-1, width))
    squares = (codes * codes).sum(axis=1) + rshift(np.full(len(codes), KEY_EPSILON), 2 * exponent)
    r, p = (np.array(part, np.int64) for part in zip(*(inverse_sqrt(max(int(n), 1)) for n in squares), strict=True))
    unit = rshift(codes * r[:, None], (61 - KEY_FRACTION - p)[:, None])
    return np.clip(unit, -KEY_LIMIT, KEY_LIMIT).reshape(x.shape)


def delta_rows(mixed: Int, steps: NDArray[np.integer], step_bias: Int, shape: DeltaShape) -> tuple[Int, Int, Int, Int]:
    """Return queries, keys, steps and values of rows, of which the first three enter the cache.

    Parameters
    ----------
    mixed : int64 (M, channels)
        What `scan.convolved` returned for each, Q16.
    steps : integer (M, heads)
        The projection dt, Q16.
    """
    query, key, value = np.split(mixed, [shape.columns, 2 * shape.columns], axis=1)
    step = softplus(sat32(np.asarray(steps, np.int64) + step_bias))
    return unit_rows(query, shape.states), unit_rows(key, shape.states), step, value


def written_row(
    rows: DeltaRows, value: Int, beta: NDArray[np.integer], state: Int, rate: Int, shape: DeltaShape
) -> Int:
    """Return what the last of a block's first rows writes, int64 (inner,), Q20.

    Parameters
    ----------
    rows : DeltaRows
        Those of the block up to the row itself; what it writes is not read.
    value : int64 (inner,)
        Q16.
    beta : integer (heads,)
        How much of it is written, before the sigmoid, Q16.
    state : int64 (heads, states, width)
        That before the block, Q20.
    """
    held = _read(rows, rows.key[-1], state, rate, shape, len(rows.key) - 1)
    wanted = sat32((value.reshape(held.shape) << (STATE_FRACTION - 16)) - held)
    return rshift(sigmoid(np.asarray(beta, np.int64))[:, None] * wanted, 30).reshape(-1)


def delta_row(rows: DeltaRows, state: Int, rate: Int, shape: DeltaShape) -> Int:
    """Return the result of the last of a block's first rows, int64 (inner,), Q16 and saturated."""
    found = _read(rows, rows.query[-1], state, rate, shape, len(rows.key))
    return sat32(rshift(found, STATE_FRACTION - 16)).reshape(-1)


def end_block(rows: DeltaRows, state: Int, rate: Int, shape: DeltaShape) -> Int:
    """Return the state behind a block of 64 rows: the state before it, decayed, and what each row writes."""
    total = decays(rows.step, rate)
    decay = exp2_neg_fine(total[-1] - total)
    keys = rshift(shape.of_heads(rows.key) * decay[..., None], KEY_FRACTION + 30 - WEIGHT_FRACTION)
    written = rows.written.reshape(len(keys), shape.heads, shape.width)
    added = np.einsum("thn,thp->hnp", keys, written)
    kept = rshift(state * exp2_neg_fine(total[-1])[:, None, None], 30)
    return sat32(kept + rshift(added, WEIGHT_FRACTION))


def _read(rows: DeltaRows, vector: Int, state: Int, rate: Int, shape: DeltaShape, count: int) -> Int:
    """Return what the state before the last row and the first `count` rows hold under a key: (heads, width), Q20."""
    total = decays(rows.step, rate)
    own = shape.of_heads(vector)
    before = sat32(rshift(np.einsum("hnp,hn->hp", state, own), KEY_FRACTION))
    before = rshift(before * exp2_neg_fine(total[-1])[:, None], 30)
    dots = (shape.of_heads(rows.key[:count]) * own).sum(axis=2)
    weights = rshift(dots * exp2_neg_fine(total[-1] - total[:count]), 2 * KEY_FRACTION + 30 - WEIGHT_FRACTION)
    inside = np.einsum("th,thp->hp", weights, rows.written[:count].reshape(count, shape.heads, shape.width))
    return before + rshift(inside, WEIGHT_FRACTION)
