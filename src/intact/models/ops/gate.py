"""Gates of feed-forward networks: SwiGLU and similar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from intact.models.aspects.cutting import Cutter
from intact.models.aspects.derivative import FloatPass
from intact.models.aspects.lowering import Lowering
from intact.models.aspects.op import Op
from intact.models.aspects.shader import Shading
from intact.models.aspects.step import ReferenceStep
from intact.models.aspects.structure import Structure
from intact.models.aspects.work import ROWS, Label, RowCounts, Sizes, WorkSize
from intact.numerics.fp32 import GELU_CUBIC, GELU_LINEAR, Floats
from intact.numerics.gate import GATES, Activation, gated


@dataclass(frozen=True)
class Gate(Op):
    """target = activation(gate) * up, or activation(gate) if `up` is None."""

    gate: str
    up: str | None
    target: str
    kind: Activation

    noun = "gates"
    native = "gate"

    def reads(self) -> set[str]:
        """Return the gate and up buffers."""
        return {self.gate} if self.up is None else {self.gate, self.up}

    def writes(self) -> set[str]:
        """Return the target."""
        return {self.target}

    def step(self, s: ReferenceStep) -> None:
        """Apply the activation and multiply."""
        s.rows[self.target] = gated(s.rows[self.gate], None if self.up is None else s.rows[self.up], self.kind)

    def lower(self, low: Lowering) -> dict[str, Any]:
        """Return the buffers and the activation."""
        return {
            "source": low.buffer(self.gate),
            "second": low.buffer(self.up),
            "target": low.buffer(self.target),
            "gate": GATES.index(self.kind),
        }

    def shade(self, g: Shading) -> None:
        """Apply the activation and multiply: a workgroup a row."""
        place = g.row(self.target)
        numbers = {
            "gate": g.row(self.gate).offset,
            "up": 0 if self.up is None else g.row(self.up).offset + 1,
            "place": place.offset,
            "width": place.width,
            "kind": GATES.index(self.kind),
        }
        g.dispatch("gate", {"gate": numbers})

    def labels(self) -> dict[int, Label]:
        """Label the activation."""
        return {ROWS: ("gate", self.kind)}

    def work(self, part: int, sizes: Sizes, counts: RowCounts) -> WorkSize:
        """Count all buffers."""
        return WorkSize(0, counts.rows * sum(sizes.row(name) for name in (self.gate, self.up, self.target) if name))

    def cut(self, cutter: Cutter) -> None:
        """Gate this rank's columns."""
        cutter.written(self.target, cutter.split[self.gate])
        cutter.append(self)

    def structure(self, at: int, found: Structure) -> None:
        """Add the gate of the feed-forward network."""
        found.add_feed_forward(at, self.gate, self.up, self.target)

    def float_step(self, s: FloatPass) -> None:
        """Apply the activation and multiply, in float32."""
        g = s.rows[self.gate]
        u = np.ones_like(g) if self.up is None else s.rows[self.up]
        value, slope = self._value_and_slope(s, g)
        s.keep(u, value, slope)
        s.rows[self.target] = value * u

    def derivative(self, s: FloatPass) -> None:
        """Pass gradients to gate and up."""
        u, value, slope = s.kept()
        h = s.take(self.target)
        s.add(self.gate, (h * u) * slope)
        if self.up is not None:
            s.add(self.up, h * value)

    def _value_and_slope(self, s: FloatPass, g: Floats) -> tuple[Floats, Floats]:
        """Return the activation and its derivative."""
        one = np.float32(1.0)
        if self.kind == "relu":
            slope = (g > 0).astype(np.float32)
            return g * slope, slope
        if self.kind in ("silu", "sigmoid"):
            f = s.sigmoid(g)
            if self.kind == "sigmoid":
                return f, (f * (one - f)).astype(np.float32, copy=False)
            return g * f, (f * (one + g * (one - f))).astype(np.float32, copy=False)
        if self.kind == "gelu":
            square = g * g
            f = s.sigmoid(g * (GELU_LINEAR + GELU_CUBIC * square))
            value = g * f
            slope = f + g * (f * (one - f)) * (GELU_LINEAR + np.float32(3.0) * GELU_CUBIC * square)
            return value, slope.astype(np.float32, copy=False)
        self.refuse_derivative(f" with the activation {self.kind}")
        raise AssertionError
