"""Rotary position embeddings (RoFormer, arXiv 2104.09864)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from intact.models.aspects.cutting import Cutter
from intact.models.aspects.derivative import FloatPass
from intact.models.aspects.lowering import Lowering
from intact.models.aspects.op import Op
from intact.models.aspects.shader import Shading
from intact.models.aspects.step import ReferenceStep
from intact.models.aspects.work import ROWS, Label, RowCounts, Sizes, WorkSize
from intact.numerics import fp32
from intact.numerics.fp32 import Floats
from intact.numerics.rope import rotate


@dataclass(frozen=True)
class Rope(Op):
    """Rotary embedding in place; pairs are adjacent if `interleaved`, otherwise half a head apart."""

    buffer: str
    rotation: int
    heads: int
    width: int
    interleaved: bool

    noun = "rotary embeddings"
    native = "rope"

    def reads(self) -> set[str]:
        """Return the buffer, which is rotated in place."""
        return {self.buffer}

    def writes(self) -> set[str]:
        """Return the buffer."""
        return {self.buffer}

    def step(self, s: ReferenceStep) -> None:
        """Rotate pairs by the angles of their positions."""
        heads = s.rows[self.buffer].reshape(len(s.tokens), self.heads, self.width)
        turned = rotate(heads, *s.angles[self.rotation], self.interleaved)
        s.rows[self.buffer] = turned.reshape(len(s.tokens), -1)

    def lower(self, low: Lowering) -> dict[str, Any]:
        """Return the rotation and the shape of heads."""
        return {
            "source": low.buffer(self.buffer),
            "weight": self.rotation,
            "heads": self.heads,
            "width": self.width,
            "interleaved": self.interleaved,
        }

    def shade(self, g: Shading) -> None:
        """Rotate a head a workgroup."""
        half, before = g.rotation(self.rotation)
        numbers = {
            "buffer": g.row(self.buffer).offset,
            "heads": self.heads,
            "width": self.width,
            "half": half,
            "before": before,
            "interleaved": int(self.interleaved),
        }
        g.dispatch("rotate", {"rotate": numbers}, self.heads)

    def labels(self) -> dict[int, Label]:
        """Label the buffer."""
        return {ROWS: ("rope", self.buffer)}

    def work(self, part: int, sizes: Sizes, counts: RowCounts) -> WorkSize:
        """Count reading and writing the buffer."""
        return WorkSize(0, counts.rows * 2 * sizes.row(self.buffer))

    def cut(self, cutter: Cutter) -> None:
        """Rotate this rank's heads."""
        own = cutter.split[self.buffer][cutter.rank].width
        cutter.append(replace(self, heads=own // self.width))

    def float_step(self, s: FloatPass) -> None:
        """Rotate pairs in float32."""
        s.rows[self.buffer] = self._turned(s, s.rows[self.buffer], 1)

    def derivative(self, s: FloatPass) -> None:
        """Rotate the gradient backwards."""
        s.add(self.buffer, self._turned(s, s.take(self.buffer), -1))

    def _turned(self, s: FloatPass, x: Floats, direction: int) -> Floats:
        cosine, sine = s.angles[self.rotation]
        heads = x.reshape(len(x), self.heads, self.width)
        return fp32.rope(heads, cosine, sine * np.float32(direction), self.interleaved).reshape(x.shape)
