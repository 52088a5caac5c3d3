"""Exchanges of columns between processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from intact.models.aspects.cutting import Cutter
from intact.models.aspects.lowering import Lowering
from intact.models.aspects.op import Op
from intact.models.aspects.step import ReferenceStep
from intact.models.aspects.work import ROWS, Label, RowCounts, Sizes, WorkSize


@dataclass(frozen=True)
class AllGather(Op):
    """target = the columns of all ranks, concatenated; added to the target if `accumulate`.

    It occurs only in programs that are split between processes (`intact.library.parallel`), never in a model's own
    program. The source holds this rank's columns, or is None if the rank holds no columns; `widths` lists the number of
    columns of each rank. Both buffers have the usual number of fraction bits of their kind, 16 or 20.
    """

    source: str | None
    target: str
    widths: tuple[int, ...]
    accumulate: bool = False

    noun = "exchanges"
    native = "all_gather"
    exchanges = True

    def reads(self) -> set[str]:
        """Return the source, and the target if it is added to."""
        added = {self.target} if self.accumulate else set[str]()
        return added if self.source is None else added | {self.source}

    def writes(self) -> set[str]:
        """Return the target."""
        return {self.target}

    def step(self, s: ReferenceStep) -> None:
        """Exchange rows with the other ranks."""
        shape = len(s.tokens), sum(self.widths)
        whole = s.rows[self.target].copy() if self.accumulate else np.zeros(shape, np.int64)
        s.memory.exchange(self, None if self.source is None else s.rows[self.source], whole)
        s.rows[self.target] = whole

    def lower(self, low: Lowering) -> dict[str, Any]:
        """Return the buffers."""
        return {
            "source": low.buffer(self.source),
            "target": low.buffer(self.target),
            "accumulate": self.accumulate,
        }

    def labels(self) -> dict[int, Label]:
        """Label the target."""
        return {ROWS: ("all-gather", self.target)}

    def work(self, part: int, sizes: Sizes, counts: RowCounts) -> WorkSize:
        """Count reading and writing the target."""
        return WorkSize(0, counts.rows * 2 * sizes.row(self.target))

    def cut(self, cutter: Cutter) -> None:
        """Raise: exchanges cannot be split."""
        self.refuse_cut()
