"""Attention over blocks whose keys keep their block-relative positions: the query is rotated for each block instead.

A block's keys are quantised once, rotated by positions counted from the block's start, and never change. A query at
position m of a sequence in which the block begins at o is rotated by m - o, so the angle between them corresponds to
their distance. The scores of all blocks share one maximum and one mass (docs/spec/shared_cache.md; Rodionov et al.
2025, arXiv 2504.06261). For a single block that begins at 0, this equals `intact.numerics.attention` bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact.models.ops import Attend, Rope
from intact.numerics.attention import WEIGHT_MAX, Heads, Scale, quantize_query
from intact.numerics.fixed import bitlen, rshift, sat32, shift
from intact.numerics.functions import exp2_neg
from intact.numerics.rope import rotate
from intact.numerics.soft_cap import SoftCap, soft_cap

Integers = NDArray[np.int64]


class KeptHeads:
    """Keys or values of one layer of a growing block; codes are stored as float64, so products are exact."""

    def __init__(self) -> None:
        self._codes = np.zeros((0, 0, 0))
        self._scales = np.zeros((0, 0), np.int64)
        self._length = 0

    def append(self, heads: Heads) -> None:
        """Append positions: codes (n, heads, width), scales (n, heads)."""
        count, kinds, width = heads.codes.shape
        start, end = self._length, self._length + count
        if end > self._codes.shape[1]:
            room = max(end, 2 * self._codes.shape[1], 16)
            codes, scales = np.zeros((kinds, room, width)), np.zeros((kinds, room), np.int64)
            if start:
                codes[:, :start], scales[:, :start] = self._codes[:, :start], self._scales[:, :start]
            self._codes, self._scales = codes, scales
        self._codes[:, start:end], self._scales[:, start:end] = heads.codes.swapaxes(0, 1), heads.scale.T
        self._length = end

    def first(self, count: int) -> Heads:
        """Return the first `count` positions: codes float64 (heads, n, width), scales int64 (heads, n)."""
        return Heads(self._codes[:, :count], self._scales[:, :count])


class SeenHeads(NamedTuple):
    """The part of a block visible to rows in a layer: its first positions, and each row's distance from its start.

    Attributes
    ----------
    distance : int64 (rows,)
        m - o. Positions beyond it are masked, which only matters in the rows' own block.
    """

    keys: Heads
    values: Heads
    distance: Integers


@dataclass(frozen=True)
class Attention:
    """An attention operation of a program, separated from the rotation of its queries.

    Attributes
    ----------
    rope : Rope or None
        Rotation of the queries.
    sinks : int64 (heads,) or None
        Scores of the attention sinks.
    """

    op: Attend
    rope: Rope | None
    scale: Scale
    cap: SoftCap | None
    sinks: Integers | None

    def attend(self, queries: Integers, seen: Sequence[SeenHeads], turns: tuple[Integers, Integers] | None) -> Integers:
        """Compute the attention of rows in Q16, int64 (rows, heads, width).

        Parameters
        ----------
        queries : int64 (rows, heads, width)
            Queries in Q16, not rotated.
        seen : sequence of SeenHeads
            Blocks to attend to.
        turns : pair of int64 (blocks * rows, frequencies), optional
            Sines and cosines of the distances, block by block; None for a layer without rotation.
        """
        op, (rows, heads, _) = self.op, queries.shape
        group, blocks, lengths = op.kv_heads, len(seen), [part.keys.codes.shape[1] for part in seen]
        turned = np.tile(queries, (blocks, 1, 1))
        if turns is not None:
            assert self.rope is not None
            turned = rotate(turned, *turns, self.rope.interleaved)
        codes, *factors = quantize_query(turned, self.scale)
        products = [
            _by_heads(codes[i * rows : (i + 1) * rows], group) @ part.keys.codes.swapaxes(1, 2)
            for i, part in enumerate(seen)
        ]
        exact = _by_rows(np.concatenate(products, axis=2), rows, heads).astype(np.int64)
        mantissa, drop = [
            np.repeat(factor.reshape(blocks, rows, heads).transpose(1, 2, 0), lengths, axis=2) for factor in factors
        ]
        key_scales, scales = [
            np.repeat(np.concatenate(heads_of, axis=1), heads // group, axis=0)
            for heads_of in ([part.keys.scale for part in seen], [part.values.scale for part in seen])
        ]
        score = sat32(shift(rshift(exact * mantissa, 15) * key_scales, drop))
        score = score if self.cap is None else soft_cap(score, self.cap)
        distance = np.repeat(np.stack([part.distance for part in seen], axis=1), lengths, axis=1)
        place = (distance - np.concatenate([np.arange(length) for length in lengths]))[:, None]
        mask = (place >= 0) & ((place < op.window) if op.window else True)
        top = np.where(mask, score, np.int64(-1) << 40).max(axis=2)
        top = top if self.sinks is None else np.maximum(top, self.sinks)
        e = np.where(mask, exp2_neg(np.maximum(top[..., None] - score, 0)), 0)
        t = e * scales
        h = np.maximum(bitlen(t.max(axis=2)) - 12, 0)
        weight = np.minimum(rshift(t, h[..., None]), WEIGHT_MAX)
        values = np.concatenate([part.values.codes for part in seen], axis=1)
        total = _by_rows(_by_heads(weight, group) @ values, rows, heads).astype(np.int64)
        mass = e.sum(axis=2) + (0 if self.sinks is None else exp2_neg(top - self.sinks))
        s = bitlen(mass) - 23
        inverse = (1 << 46) // rshift(mass, s)
        return sat32(rshift(total * inverse[..., None], (52 + s - h)[..., None]))


def _by_heads(x: Integers, group: int) -> NDArray[np.float64]:
    """Reorder rows (rows, heads, n) by key head: float64 (key heads, rows * heads per key head, n)."""
    rows, heads, n = x.shape
    each = x.reshape(rows, group, heads // group, n).swapaxes(0, 1)
    return each.reshape(group, rows * (heads // group), n).astype(np.float64)


def _by_rows(x: NDArray[np.float64], rows: int, heads: int) -> NDArray[np.float64]:
    """Undo `_by_heads`."""
    group, n = x.shape[0], x.shape[2]
    return x.reshape(group, rows, heads // group, n).swapaxes(0, 1).reshape(rows, heads, n)
