"""Vectors that adapters add to rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from intact.models.aspects.cutting import Cutter
from intact.models.aspects.derivative import FloatPass
from intact.models.aspects.lowering import Lowering
from intact.models.aspects.op import Op
from intact.models.aspects.parameters import integer_bias
from intact.models.aspects.shader import Shading
from intact.models.aspects.step import ReferenceStep
from intact.models.aspects.work import ROWS, Label, RowCounts, Sizes, WorkSize


@dataclass(frozen=True)
class Steer(Op):
    """target += vector in the rows of sequences with an adapter.

    `vectors` has one entry per adapter, by number; None if the adapter adds nothing here.
    """

    target: str
    vectors: tuple[str | None, ...]

    noun = "adapters"
    native = "steer"

    def reads(self) -> set[str]:
        """Return the target, which is added to."""
        return {self.target}

    def writes(self) -> set[str]:
        """Return the target."""
        return {self.target}

    def step(self, s: ReferenceStep) -> None:
        """Add each adapter's vector to its rows."""
        numbers, y = s.adapters(), s.rows[self.target].copy()
        for number, name in enumerate(self.vectors):
            if name is not None:
                y[numbers == number] += integer_bias(s.tables, name, 20)
        s.rows[self.target] = y

    def lower(self, low: Lowering) -> dict[str, Any]:
        """Return the vector of each adapter."""
        vectors = [low.target(self.target, None, low.bias(name, 20)) for name in self.vectors]
        return {"target": low.buffer(self.target), "targets": vectors}

    def shade(self, g: Shading) -> None:
        """Add each adapter's vector to its rows: a workgroup a row."""
        place = g.row(self.target)
        for number, name in enumerate(self.vectors):
            if name is not None:
                vector = g.bias(name, 20) - 1
                numbers = {"place": place.offset, "width": place.width, "vector": vector, "adapter": number + 1}
                g.dispatch("steer", {"steer": numbers})

    def labels(self) -> dict[int, Label]:
        """Label the target."""
        return {ROWS: ("steer", self.target)}

    def work(self, part: int, sizes: Sizes, counts: RowCounts) -> WorkSize:
        """Count reading and writing the target."""
        return WorkSize(0, counts.rows * 2 * sizes.row(self.target))

    def cut(self, cutter: Cutter) -> None:
        """Raise: steering vectors cannot be split."""
        self.refuse_cut()

    def float_step(self, s: FloatPass) -> None:
        """Add the vector of the sequence's adapter in float32."""
        if not s.last and s.adapter >= 0 and (name := self.vectors[s.adapter]) is not None:
            s.rows[self.target] = s.rows[self.target] + s.vector(name)

    def derivative(self, s: FloatPass) -> None:
        """Add the gradient of the vector; the target's own gradient is unchanged."""
        if s.adapter >= 0:
            s.learn_sum(self.vectors[s.adapter], s.gradient(self.target))
