"""Short convolutions with SiLU (Mamba-1 and similar)."""

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
    """Causal convolution of each channel over the last positions, then SiLU; first appends a row to the cache.

    target = SiLU(sum over j < `taps` of weight[:, taps - 1 - j] * source[position - j], plus `bias` if given), both
    narrow; rows before the start of the sequence are 0. `layer` numbers the convolutions of a program, as in
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
        """Label the number of positions."""
        return {ROWS: ("convolve", f"{self.taps} positions")}

    def work(self, part: int, sizes: Sizes, counts: RowCounts) -> WorkSize:
        """Count the source, the target, the stored row and the rows read."""
        kept = (1 + self.taps) * sizes.kept * self.width
        return WorkSize(0, counts.rows * (sizes.row(self.source) + sizes.row(self.target) + kept))

    def cut(self, cutter: Cutter) -> None:
        """Raise: convolutions cannot be split."""
        self.refuse_cut()
