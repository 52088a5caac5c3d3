"""Short convolutions with SiLU (Mamba-1 and its kin)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from intact.models.aspects.convolved import convolution_taps, native_taps, seen_rows
from intact.models.aspects.cutting import Cutter
from intact.models.aspects.lowering import Lowering
from intact.models.aspects.op import Convolution
from intact.models.aspects.parameters import integer_bias
from intact.models.aspects.step import ReferenceStep
from intact.models.aspects.tables import Tables
from intact.models.aspects.work import ROWS, Label, RowCounts, Sizes, WorkSize
from intact.numerics.scan import convolved, input_rows


@dataclass(frozen=True)
class ConvolveSilu(Convolution):
    """Causal convolution of each channel over the last positions, and SiLU; appends a row to the cache first.

    target = SiLU(sum over j < `taps` of weight[:, taps - 1 - j] * source[position - j], plus `bias` where there is
    one), narrow both; rows before the text are 0. `layer` counts the convolutions of a program, as that of a
    `Convolve`.
    """

    source: str
    target: str
    weight: str
    bias: str | None
    layer: int
    width: int
    taps: int

    noun = "convolutions (recurrent layers)"
    native = "convolve_silu"

    @property
    def channels(self) -> int:
        """The number of channels."""
        return self.width

    def reads(self) -> set[str]:
        """Return the source."""
        return {self.source}

    def writes(self) -> set[str]:
        """Return the target."""
        return {self.target}

    def cached_shapes(self, tables: Tables) -> list[tuple[int, ...]]:
        """Return those of codes and their exponent."""
        return [(self.width,), ()]

    def position_bytes(self, tables: Tables, page_size: int) -> int:
        """Count codes of 16 bits and an exponent."""
        return 2 * self.width + 4

    def step(self, s: ReferenceStep) -> None:
        """Keep a row, and sum over the last ones."""
        taps = s.memory.once(convolution_taps, self)
        bias = np.zeros(self.width, np.int64) if self.bias is None else integer_bias(s.tables, self.bias, 16)
        seen = seen_rows(s, self, input_rows(s.rows[self.source]))
        s.set(self.target, np.array([convolved(rows, taps, bias) for rows in seen]), 16)

    def lower(self, low: Lowering) -> dict[str, Any]:
        """Return buffers and weights."""
        return {
            "source": low.buffer(self.source),
            "target": low.buffer(self.target),
            "layer": self.layer,
            "width": self.taps,
            "bias": low.numbers(*native_taps(low.tables, self)),
            "added": low.bias(self.bias, 16),
        }

    def labels(self) -> dict[int, Label]:
        """Return the number of positions."""
        return {ROWS: ("convolve", f"{self.taps} positions")}

    def work(self, part: int, sizes: Sizes, counts: RowCounts) -> WorkSize:
        """Count source, target, the row that is kept, and those that are read."""
        kept = (1 + self.taps) * sizes.kept * self.width
        return WorkSize(0, counts.rows * (sizes.row(self.source) + sizes.row(self.target) + kept))

    def cut(self, cutter: Cutter) -> None:
        """Refuse."""
        self.refuse_cut()
