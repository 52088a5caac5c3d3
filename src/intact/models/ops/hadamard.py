"""Rotation of a row by Hadamard matrices."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from intact.models.aspects.cutting import Cutter
from intact.models.aspects.lowering import Lowering
from intact.models.aspects.op import Op
from intact.models.aspects.shader import Shading
from intact.models.aspects.step import ReferenceStep
from intact.models.aspects.work import ROWS, Label, RowCounts, Sizes, WorkSize
from intact.numerics.hadamard import hadamard


@dataclass(frozen=True)
class Hadamard(Op):
    """target = H source for each block of `size` columns, where H is the Hadamard matrix of that size.

    The target is wide in memory, with the source's fraction bits.
    """

    source: str
    target: str
    size: int

    noun = "rotations of rows"
    native = "hadamard"

    def reads(self) -> set[str]:
        """Return the source."""
        return {self.source}

    def writes(self) -> set[str]:
        """Return the target."""
        return {self.target}

    def step(self, s: ReferenceStep) -> None:
        """Rotate blocks."""
        s.copy(self.source, self.target, hadamard(s.rows[self.source], self.size))

    def lower(self, low: Lowering) -> dict[str, Any]:
        """Return the size of a block."""
        return {"source": low.buffer(self.source), "target": low.buffer(self.target), "width": self.size}

    def shade(self, g: Shading) -> None:
        """Rotate a block a workgroup."""
        source, place = g.row(self.source), g.row(self.target)
        numbers = {
            "source": source.offset,
            "source_wide": source.wide,
            "place": place.offset,
            "size": self.size,
        }
        g.dispatch("hadamard", {"hadamard": numbers}, place.width // self.size)
        g.fraction[self.target] = g.fraction[self.source]

    def labels(self) -> dict[int, Label]:
        """Label the source."""
        return {ROWS: ("hadamard", self.source)}

    def work(self, part: int, sizes: Sizes, counts: RowCounts) -> WorkSize:
        """Count the source and the target."""
        return WorkSize(0, counts.rows * (sizes.row(self.source) + sizes.row(self.target)))

    def cut(self, cutter: Cutter) -> None:
        """Rotate whole rows on all ranks."""
        cutter.append(replace(self, source=cutter.whole(self.source), target=cutter.written(self.target)))
