"""Embedding of tokens, with positions and biases if the model adds them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ModelError
from intact.models.aspects.cutting import Cutter
from intact.models.aspects.derivative import FloatPass
from intact.models.aspects.lowering import Lowering
from intact.models.aspects.op import Op
from intact.models.aspects.parameters import integer_bias
from intact.models.aspects.shader import Shading
from intact.models.aspects.step import ReferenceStep, Rows
from intact.models.aspects.structure import Structure
from intact.models.aspects.tables import Tables
from intact.models.aspects.work import ROWS, Label, RowCounts, Sizes, WorkSize, tensor_roles
from intact.models.ops.all_gather import AllGather
from intact.numerics.fixed import rshift
from intact.numerics.weights import BlockWeight


@dataclass(frozen=True)
class Embed(Op):
    """target = scale * weight[token] + positions[first + position] + bias.

    `positions` names a matrix with a row per position, `bias` a row added to all rows; None: nothing is added. If a
    `separator` token is given, rows after its first occurrence in a sequence get `second_bias` instead of `bias`.
    """

    target: str
    weight: str
    scale: Fraction = Fraction(1)
    positions: str | None = None
    first: int = 0
    bias: str | None = None
    second_bias: str | None = None
    separator: int | None = None

    noun = "embeddings"
    native = "embed"

    def reads(self) -> set[str]:
        """Return an empty set: tokens are not stored in a buffer."""
        return set()

    def writes(self) -> set[str]:
        """Return the target."""
        return {self.target}

    def most_tokens(self, tables: Tables) -> int | None:
        """Return the maximum length of a sequence for which there are positions; None for no limit."""
        return None if self.positions is None else tables.tensors[self.positions].shape[0] - self.first

    def step(self, s: ReferenceStep) -> None:
        """Look up the rows."""
        x = _rows_of(s, self.weight, s.tokens, embed_multiplier(self.scale))
        if self.positions is not None:
            x = x + _rows_of(s, self.positions, self.first + s.positions, embed_multiplier(Fraction(1)))
        second = np.concatenate([self._after_separator(chunk.tokens) for chunk in s.chunks])
        for name, where in ((self.bias, ~second), (self.second_bias, second)):
            if name is not None:
                x = x + np.where(where[:, None], integer_bias(s.tables, name, 20), 0)
        s.set(self.target, x)

    def _after_separator(self, tokens: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return, for each row of a sequence, true if a separator precedes it."""
        found = tokens == (-1 if self.separator is None else self.separator)
        before: NDArray[np.bool_] = np.cumsum(found) > found
        return before

    def lower(self, low: Lowering) -> dict[str, Any]:
        """Return the matrices, factor and biases."""
        fields = {
            "target": low.buffer(self.target),
            "weight": low.embedding(self.weight),
            "multiplier": embed_multiplier(self.scale),
            "float_scale": float(self.scale),
            "bias": low.bias(self.bias, 20),
            "second_bias": low.bias(self.second_bias, 20),
        }
        if self.separator is not None:
            fields["separator"] = self.separator
        if self.positions is not None:
            fields |= {"positions": low.embedding(self.positions), "first": self.first}
        return fields

    def shade(self, g: Shading) -> None:
        """Look up the rows: a workgroup a row."""
        place = g.row(self.target)
        numbers = {
            "place": place.offset,
            "width": place.width,
            "multiplier": embed_multiplier(self.scale),
            "by_position": 0,
            "shifted": 0,
            "accumulate": 0,
            "bias": g.bias(self.bias, 20),
            "second_bias": g.bias(self.second_bias, 20),
        }
        g.embed(self.weight, numbers)
        if self.positions is not None:
            added = {"multiplier": embed_multiplier(Fraction(1)), "by_position": 1, "shifted": self.first}
            g.embed(self.positions, {**numbers, **added, "accumulate": 1, "bias": 0, "second_bias": 0})
        g.fraction[self.target] = 20

    def labels(self) -> dict[int, Label]:
        """Label the matrix."""
        return {ROWS: ("embed", tensor_roles([self.weight]))}

    def work(self, part: int, sizes: Sizes, counts: RowCounts) -> WorkSize:
        """Count one row of each matrix, and the target."""
        names = [self.weight] if self.positions is None else [self.weight, self.positions]
        row = sum(sizes.weight(name) // sizes.tables.tensors[name].shape[0] for name in names)
        return WorkSize(0, counts.rows * (row + sizes.row(self.target)))

    def cut(self, cutter: Cutter) -> None:
        """Let rank 0, the only one that holds the matrix, embed the tokens and send the rows."""
        width = cutter.tables.buffers[self.target].width
        own = self.target + ".embedded"
        if cutter.rank == 0:
            target = cutter.added(own, self.target, width)
            cutter.append(replace(self, target=target, weight=cutter.tensor(self.weight)))
        cutter.written(self.target)
        widths = (width, *(0 for _ in range(cutter.ranks - 1)))
        cutter.append(AllGather(own if cutter.rank == 0 else None, self.target, widths))

    def matrices(self) -> Iterable[str]:
        """Return the matrices of tokens and positions."""
        return [name for name in (self.weight, self.positions) if name is not None]

    def structure(self, at: int, found: Structure) -> None:
        """Add the residual stream and its embedding."""
        found.add_embedding(self.target, self.weight)

    def float_step(self, s: FloatPass) -> None:
        """Return the scaled rows of the tokens in float32."""
        if self.positions or self.bias or self.second_bias:
            self.refuse_derivative(" with positions or biases")
        s.rows[self.target] = s.embedding(self.weight, s.tokens) * np.float32(self.scale)

    def derivative(self, s: FloatPass) -> None:
        """Add the gradient of the tokens' rows."""
        s.learn_rows(self.weight, s.tokens, s.take(self.target) * np.float32(self.scale))


def embed_multiplier(scale: Fraction) -> int:
    """Return the embedding's factor in Q24."""
    return int(scale * (1 << 24) + Fraction(1, 2))


def check_embedding(name: str, largest_exponent: int) -> None:
    """Refuse an embedding whose scales would need a left shift."""
    if largest_exponent > 4:
        raise ModelError(f"tensor {name}: a scale of 2^{largest_exponent} and more is too large for an embedding")


def _rows_of(s: ReferenceStep, name: str, rows: NDArray[np.integer], multiplier: int) -> Rows:
    w = s.memory.weight(name)
    exponents = w.scale_exp if w.minimum_exp is None else np.maximum(w.scale_exp, w.minimum_exp)
    check_embedding(name, int(exponents.max()))
    return embedded_rows(w, rows, multiplier)


def embedded_rows(w: BlockWeight, rows: NDArray[np.integer], multiplier: int) -> Rows:
    """Return rows of a matrix in Q20: codes times scale times factor (Q24), rounded once; minima likewise."""
    table = np.arange(1 << w.bits) if w.table is None else w.table
    codes = np.asarray(table, np.int64)[w.codes[rows]] - w.zero
    scale = np.repeat(w.scale[rows].astype(np.int64), w.block, axis=1)
    x = rshift(codes * scale * multiplier, 4 - w.scale_exp[rows, None].astype(np.int64))
    if w.minimum is not None and w.minimum_exp is not None:
        minimum = np.repeat(w.minimum[rows].astype(np.int64), w.block, axis=1)
        x = x + rshift(minimum * multiplier, 4 - w.minimum_exp[rows, None].astype(np.int64))
    return x[:, : w.columns]
