"""Multiplication of a row by a number."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from intact._base.errors import ModelError
from intact.models.aspects.cutting import Cutter
from intact.models.aspects.derivative import FloatPass
from intact.models.aspects.lowering import Lowering
from intact.models.aspects.op import Op
from intact.models.aspects.parameters import bias_values
from intact.models.aspects.shader import Shading
from intact.models.aspects.step import ReferenceStep
from intact.models.aspects.tables import Tables
from intact.models.aspects.work import ROWS, Label, RowCounts, Sizes, WorkSize
from intact.numerics.multiply import multiply, row_multiplier


@dataclass(frozen=True)
class Multiply(Op):
    """target = number * source[start : start + the target's width], in place if both are the same buffer.

    The source is wide with 20 fraction bits; the target is wide or narrow. The number is `factor`, multiplied by the
    value of the named one-element tensor, if any (as at the end of Gemma 4's layers).
    """

    source: str
    target: str
    weight: str | None = None
    factor: Fraction = Fraction(1)
    start: int = 0

    noun = "products of rows and numbers"
    native = "multiply"

    def reads(self) -> set[str]:
        """Return the source."""
        return {self.source}

    def writes(self) -> set[str]:
        """Return the target."""
        return {self.target}

    def step(self, s: ReferenceStep) -> None:
        """Multiply columns."""
        spec = s.tables.buffers[self.target]
        x = s.rows[self.source][:, self.start : self.start + spec.width]
        s.set(self.target, multiply(x, s.memory.once(integer_multiplier, self), spec.wide))

    def lower(self, low: Lowering) -> dict[str, Any]:
        """Return the number."""
        return {
            "source": low.buffer(self.source),
            "target": low.buffer(self.target),
            "first": self.start,
            "multiplier": 0 if low.profile.float32 else integer_multiplier(low.tables, self),
            "float_scale": float(np.float32(row_number(low.tables, self))),
        }

    def shade(self, g: Shading) -> None:
        """Multiply columns: a workgroup a row."""
        place = g.row(self.target)
        numbers = {
            "source": g.row(self.source).offset,
            "start": self.start,
            "place": place.offset,
            "place_wide": place.wide,
            "width": place.width,
            "multiplier": integer_multiplier(g.tables, self),
        }
        g.dispatch("multiply", {"multiply": numbers})
        g.fraction[self.target] = g.tables.buffers[self.target].fraction

    def labels(self) -> dict[int, Label]:
        """Label the target."""
        return {ROWS: ("multiply", self.target)}

    def work(self, part: int, sizes: Sizes, counts: RowCounts) -> WorkSize:
        """Count the source and the target."""
        return WorkSize(0, counts.rows * (sizes.row(self.source) + sizes.row(self.target)))

    def cut(self, cutter: Cutter) -> None:
        """Multiply whole rows on all ranks."""
        if self.weight is not None:
            cutter.tensor(self.weight)
        cutter.append(replace(self, source=cutter.whole(self.source), target=cutter.written(self.target)))

    def float_step(self, s: FloatPass) -> None:
        """Multiply columns in float32."""
        width, number = s.tables.buffers[self.target].width, np.float32(row_number(s.tables, self))
        s.rows[self.target] = s.rows[self.source][:, self.start : self.start + width] * number

    def derivative(self, s: FloatPass) -> None:
        """Pass the gradient times the number to the columns that were read."""
        if s.learns(self.weight):
            self.refuse_derivative(" that are trained themselves")
        g = s.take(self.target) * np.float32(row_number(s.tables, self))
        whole = np.zeros((len(g), s.tables.buffers[self.source].width), np.float32)
        whole[:, self.start : self.start + g.shape[1]] = g
        s.add(self.source, whole)


def row_number(tables: Tables, op: Multiply) -> Fraction:
    """Return the number by which the row is multiplied."""
    return op.factor if op.weight is None else op.factor * Fraction(float(bias_values(tables, op.weight)[0]))


def integer_multiplier(tables: Tables, op: Multiply) -> int:
    """Return the number of `row_number` in Q24.

    Raises
    ------
    ModelError
        If it is too large.
    """
    try:
        return row_multiplier(row_number(tables, op))
    except ValueError as error:
        raise ModelError(f"tensor {op.weight}: {error}") from None
