"""Gated short convolutions (LFM2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from intact.models.aspects.convolved import convolution_taps, native_taps, seen_rows
from intact.models.aspects.cutting import Cutter
from intact.models.aspects.lowering import Lowering
from intact.models.aspects.op import Convolution
from intact.models.aspects.step import ReferenceStep
from intact.models.aspects.tables import Tables
from intact.models.aspects.work import ROWS, Label, RowCounts, Sizes, WorkSize
from intact.numerics.convolve import convolution_rows, convolve


@dataclass(frozen=True)
class Convolve(Convolution):
    """Gated causal convolution of each channel over the last positions; first appends a row to the cache.

    The source holds the parts B, C and x, of `width` channels each. The cached row is u = B * x, and target = C * sum
    over j < `taps` of weight[:, taps - 1 - j] * u[position - j]; rows before the start of the sequence are 0. `layer`
    numbers the convolutions of a program, each of which has its own part of the cache.
    """

    source: str
    target: str
    weight: str
    layer: int
    width: int
    taps: int

    noun = "convolutions (recurrent layers)"
    native = "convolve"

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.width

    def reads(self) -> set[str]:
        """Return the source."""
        return {self.source}

    def writes(self) -> set[str]:
        """Return the target."""
        return {self.target}

    def cached_shapes(self, tables: Tables) -> list[tuple[int, ...]]:
        """Return the shapes of codes and their exponent."""
        return [(self.width,), ()]

    def position_bytes(self, tables: Tables, page_size: int) -> int:
        """Count 16-bit codes and an exponent."""
        return 2 * self.width + 4

    def step(self, s: ReferenceStep) -> None:
        """Store a row, and sum over the last rows."""
        before, gate, x = np.split(s.rows[self.source], 3, axis=1)
        taps, seen = s.memory.once(convolution_taps, self), seen_rows(s, self, convolution_rows(before, x))
        s.set(self.target, np.array([convolve(rows, taps, own) for rows, own in zip(seen, gate, strict=True)]), 20)

    def lower(self, low: Lowering) -> dict[str, Any]:
        """Return buffers and weights."""
        return {
            "source": low.buffer(self.source),
            "target": low.buffer(self.target),
            "layer": self.layer,
            "width": self.taps,
            "bias": low.numbers(*native_taps(low.tables, self)),
        }

    def labels(self) -> dict[int, Label]:
        """Label the number of positions."""
        return {ROWS: ("convolve", f"{self.taps} positions")}

    def work(self, part: int, sizes: Sizes, counts: RowCounts) -> WorkSize:
        """Count the source, the target, the stored row and the rows read."""
        kept = (1 + self.taps) * sizes.kept * self.width
        return WorkSize(0, counts.rows * (sizes.row(self.source) + sizes.row(self.target) + kept))

    def cut(self, cutter: Cutter) -> None:
        """Raise: convolutions cannot be split."""
        self.refuse_cut()
