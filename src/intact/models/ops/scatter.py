"""Copies of columns to the heads of another row, as needed by latent attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.models.aspects.cutting import Cutter
from intact.models.aspects.lowering import Lowering
from intact.models.aspects.op import Op
from intact.models.aspects.shader import Shading
from intact.models.aspects.step import ReferenceStep
from intact.models.aspects.tables import Tables
from intact.models.aspects.work import ROWS, Label, RowCounts, Sizes, WorkSize
from intact.numerics.scatter import scatter, scatter_index


@dataclass(frozen=True)
class Scatter(Op):
    """Copy columns to the heads of another row; both are narrow.

    target[h * target_step + target_start + i] = source[h * source_step + source_start + i] for each of `heads` heads
    and i < `width`; with a `source_step` of 0, all heads get the same columns. The target's other columns become 0, or
    stay unchanged if `keep`.
    """

    source: str
    target: str
    heads: int
    width: int
    source_step: int = 0
    source_start: int = 0
    target_step: int = 0
    target_start: int = 0
    keep: bool = False

    noun = "latent attention"
    native = "gather"

    def reads(self) -> set[str]:
        """Return the source, and the target if its other columns are kept."""
        return {self.source, self.target} if self.keep else {self.source}

    def writes(self) -> set[str]:
        """Return the target."""
        return {self.target}

    def step(self, s: ReferenceStep) -> None:
        """Copy columns."""
        old = s.rows[self.target] if self.keep else None
        s.copy(self.source, self.target, scatter(s.rows[self.source], s.memory.once(scatter_columns, self), old))

    def lower(self, low: Lowering) -> dict[str, Any]:
        """Return an index of columns."""
        return {
            "source": low.buffer(self.source),
            "target": low.buffer(self.target),
            "index": scatter_columns(low.tables, self).tolist(),
            "accumulate": self.keep,
        }

    def shade(self, g: Shading) -> None:
        """Copy columns: a workgroup a row."""
        g.gather(self.source, self.target, scatter_columns(g.tables, self), keep=self.keep)

    def labels(self) -> dict[int, Label]:
        """Label the target."""
        return {ROWS: ("scatter", self.target)}

    def work(self, part: int, sizes: Sizes, counts: RowCounts) -> WorkSize:
        """Count reading and writing the copied columns."""
        return WorkSize(0, counts.rows * 2 * 4 * self.heads * self.width)

    def cut(self, cutter: Cutter) -> None:
        """Raise: copies to heads cannot be split."""
        self.refuse_cut()


def scatter_columns(tables: Tables, op: Scatter) -> NDArray[np.int32]:
    """Return for each target column the source column, int32, or -1 where nothing is copied."""
    return scatter_index(
        tables.buffers[op.target].width,
        op.heads,
        op.width,
        source_step=op.source_step,
        source_start=op.source_start,
        target_step=op.target_step,
        target_start=op.target_start,
    )
