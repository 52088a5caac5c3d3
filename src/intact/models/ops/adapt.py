"""Low-rank changes to matrices, for rows of sequences that have an adapter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from intact.models.aspects.cutting import Cutter
from intact.models.aspects.derivative import FloatPass
from intact.models.aspects.lowering import Lowering
from intact.models.aspects.op import Op
from intact.models.aspects.shader import ProductTarget, Shading
from intact.models.aspects.step import ReferenceStep
from intact.models.aspects.work import PRODUCT, ROWS, Label, RowCounts, Sizes, WorkSize
from intact.numerics.activations import quantize
from intact.numerics.fixed import sat32
from intact.numerics.matmul import matmul


@dataclass(frozen=True)
class LowRank:
    """An adapter's change to one matrix, up down x: `down` has the matrix's inputs, `up` its outputs."""

    down: str
    up: str


@dataclass(frozen=True)
class Adapt(Op):
    """target += up (down source) in the rows of sequences with an adapter.

    `changes` has one entry per adapter, by number; None if the adapter does not change this matrix.
    """

    source: str
    target: str
    changes: tuple[LowRank | None, ...]

    noun = "adapters"
    native = "adapt"

    def reads(self) -> set[str]:
        """Return source and target."""
        return {self.source, self.target}

    def writes(self) -> set[str]:
        """Return the target."""
        return {self.target}

    def step(self, s: ReferenceStep) -> None:
        """Add each adapter's change to its rows."""
        spec, y, numbers = s.tables.buffers[self.target], s.rows[self.target].copy(), s.adapters()
        for number, change in enumerate(self.changes):
            own = np.flatnonzero(numbers == number)
            if change is None or not len(own):
                continue
            inner = sat32(matmul(s.quantized(self.source, own), s.memory.weight(change.down), 16))
            codes = quantize(inner, 16, s.profile.scheme)
            added = y[own] + matmul(codes, s.memory.weight(change.up), spec.fraction)
            y[own] = added if spec.wide else sat32(added)
        s.rows[self.target] = y

    def lower(self, low: Lowering) -> dict[str, Any]:
        """Return the two matrices of each adapter."""
        changes = [
            low.target(self.target, name)
            for change in self.changes
            for name in ((None, None) if change is None else (change.down, change.up))
        ]
        return {"source": low.buffer(self.source), "target": low.buffer(self.target), "targets": changes}

    def shade(self, g: Shading) -> None:
        """Multiply all rows by each adapter's matrices, and add the results to the rows that have the adapter."""
        source, place, inner = g.row(self.source), g.row(self.target), {}
        codes = g.quantize(source, g.fraction[self.source])
        for number, change in enumerate(self.changes):
            if change is not None:
                inner[number] = g.inner(f"{number} {change.down}", g.tables.tensors[change.down].shape[0])
                g.product(codes, [ProductTarget(change.down, inner[number])])
        for number, change in enumerate(self.changes):
            if change is not None:
                target = ProductTarget(change.up, place, accumulate=True)
                g.product(g.quantize(inner[number], 16), [target], adapter=number + 1)

    def labels(self) -> dict[int, Label]:
        """Label the source's rows and the target."""
        return {ROWS: ("quantise", f"{self.source}, adapters"), PRODUCT: ("adapt", self.target)}

    def work(self, part: int, sizes: Sizes, counts: RowCounts) -> WorkSize:
        """Count as if all rows used the largest adapter."""
        tables = sizes.tables
        ranks = [0 if c is None else tables.tensors[c.down].shape[0] for c in self.changes]
        widths = tables.buffers[self.source].width + tables.buffers[self.target].width
        moved = counts.rows * (sizes.row(self.source) + sizes.row(self.target))
        return WorkSize(counts.rows * max(ranks) * widths, moved)

    def cut(self, cutter: Cutter) -> None:
        """Raise: adapters cannot be split."""
        self.refuse_cut()

    def float_step(self, s: FloatPass) -> None:
        """Add the change of the sequence's adapter in float32."""
        if (change := self._change(s)) is None:
            return
        x = s.rows[self.source]
        inner = s.product(x, change.down)
        s.keep(x, inner)
        if not s.last:
            s.rows[self.target] = s.rows[self.target] + s.product(inner, change.up)

    def derivative(self, s: FloatPass) -> None:
        """Pass gradients to the source through both matrices, and to the matrices themselves."""
        if (change := self._change(s)) is None:
            return
        x, inner = s.kept()
        g = s.gradient(self.target)
        s.learn_product(change.up, g, inner)
        down = s.back(g, change.up)
        s.learn_product(change.down, down, x)
        s.add(self.source, s.back(down, change.down))

    def _change(self, s: FloatPass) -> LowRank | None:
        return None if s.adapter < 0 else self.changes[s.adapter]
