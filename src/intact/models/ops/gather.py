"""Reordering of a row's columns, for integer weights with an input index."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ModelError
from intact.models.aspects.cutting import Cutter
from intact.models.aspects.lowering import Lowering
from intact.models.aspects.op import Op
from intact.models.aspects.shader import Shading
from intact.models.aspects.step import ReferenceStep
from intact.models.aspects.tables import Tables
from intact.models.aspects.work import ROWS, Label, RowCounts, Sizes, WorkSize
from intact.numerics.gather import gather
from intact.numerics.integers import read_inputs


@dataclass(frozen=True)
class Gather(Op):
    """target[k] = source[index[k]], or 0 where index[k] is -1, with the input index of the named integer weight.

    The target has the source's kind, wide or narrow, and the same number of fraction bits.
    """

    source: str
    target: str
    weight: str

    noun = "gathers"
    native = "gather"

    def reads(self) -> set[str]:
        """Return the source."""
        return {self.source}

    def writes(self) -> set[str]:
        """Return the target."""
        return {self.target}

    def step(self, s: ReferenceStep) -> None:
        """Copy columns."""
        s.copy(self.source, self.target, gather(s.rows[self.source], s.memory.once(gather_index, self)))

    def lower(self, low: Lowering) -> dict[str, Any]:
        """Return the index."""
        index = gather_index(low.tables, self).tolist()
        return {"source": low.buffer(self.source), "target": low.buffer(self.target), "index": index}

    def shade(self, g: Shading) -> None:
        """Copy columns: a workgroup a row."""
        g.gather(self.source, self.target, gather_index(g.tables, self))

    def labels(self) -> dict[int, Label]:
        """Label the source."""
        return {ROWS: ("gather", self.source)}

    def work(self, part: int, sizes: Sizes, counts: RowCounts) -> WorkSize:
        """Count reading and writing the target."""
        return WorkSize(0, counts.rows * 2 * sizes.row(self.target))

    def cut(self, cutter: Cutter) -> None:
        """Gather whole rows on all ranks."""
        cutter.tensor(self.weight)
        cutter.append(replace(self, source=cutter.whole(self.source), target=cutter.written(self.target)))


def gather_index(tables: Tables, op: Gather) -> NDArray[np.int32]:
    """Return a gather's index, int32 (K,), with values from -1.

    If the target has columns for the parts of outliers beyond 8 bits (`with_outliers`), K includes them.
    """
    inputs = read_inputs(tables.tensors[op.weight].data)
    if inputs is None:
        raise ModelError(f"tensor {tables.tensors[op.weight].name} has no index of inputs to gather by")
    more = tables.buffers[op.target].width - len(inputs.index)
    return np.concatenate([inputs.index, inputs.index[len(inputs.index) - more :]])
