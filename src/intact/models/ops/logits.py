"""The head of a model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from intact.models.aspects.cutting import Cutter
from intact.models.aspects.derivative import LOGITS, FloatPass
from intact.models.aspects.lowering import Lowering
from intact.models.aspects.op import Op
from intact.models.aspects.shader import Shading
from intact.models.aspects.step import LOGIT_FRACTION, ReferenceStep
from intact.models.aspects.structure import Structure
from intact.models.aspects.work import PRODUCT, ROWS, Label, RowCounts, Sizes, WorkSize, tensor_roles
from intact.numerics import fp32
from intact.numerics.activations import quantize
from intact.numerics.fixed import sat32
from intact.numerics.fp32 import Floats
from intact.numerics.matmul import matmul
from intact.numerics.soft_cap import make_soft_cap, soft_cap


@dataclass(frozen=True)
class Logits(Op):
    """The head, computed only for wanted rows; logits pass through a soft `cap` (0: none).

    Without a weight there are no logits, but the head's input is kept as usual (`Executor.head_inputs`).
    """

    source: str
    weight: str | None
    cap: Fraction = Fraction(0)

    noun = "heads"
    native = "logits"

    def reads(self) -> set[str]:
        """Return the source."""
        return {self.source}

    def writes(self) -> set[str]:
        """Return an empty set: logits are not stored in a buffer."""
        return set()

    def step(self, s: ReferenceStep) -> None:
        """Compute the logits of the wanted rows, with int8 activations in every integer profile."""
        if not len(s.wanted):
            return
        s.head = a = quantize(s.rows[self.source][s.wanted], s.fraction[self.source])
        if self.weight is None:
            s.logits = np.zeros((len(s.wanted), 0), np.int64)
            return
        logits = sat32(matmul(a, s.memory.weight(self.weight), LOGIT_FRACTION))
        s.logits = soft_cap(logits, make_soft_cap(self.cap)) if self.cap else logits

    def lower(self, low: Lowering) -> dict[str, Any]:
        """Return the matrix."""
        cap = {"cap": tuple(make_soft_cap(self.cap)), "float_cap": float(self.cap)} if self.cap else {}
        return {"source": low.buffer(self.source), "weight": low.weight(self.weight), **cap}

    def shade(self, g: Shading) -> None:
        """Quantise the wanted rows and multiply them by the head."""
        source = g.row(self.source)
        codes = g.quantize(source, g.fraction[self.source], wanted=True)
        slope, limit = make_soft_cap(self.cap) if self.cap else (0, 0)
        g.head(codes, self.weight, (slope, limit))

    def labels(self) -> dict[int, Label]:
        """Label the rows, and the matrix."""
        names = tensor_roles([self.weight] if self.weight else [])
        return {ROWS: ("quantise", f"{self.source}, wanted rows"), PRODUCT: ("logits", names)}

    def work(self, part: int, sizes: Sizes, counts: RowCounts) -> WorkSize:
        """Count the wanted rows and the matrix."""
        if part == ROWS:
            return WorkSize(0, counts.wanted * (sizes.row(counts.source or self.source) + sizes.codes(self.source)))
        if self.weight is None:
            return WorkSize(0, 0)
        return sizes.product(self.weight, counts, counts.wanted, self.source, 4)

    def cut(self, cutter: Cutter) -> None:
        """Compute this rank's logits."""
        weight = None if self.weight is None else cutter.tensor(self.weight, cutter.head(self.weight))
        cutter.append(replace(self, source=cutter.whole(self.source), weight=weight))

    def matrices(self) -> Iterable[str]:
        """Return the matrix, if any."""
        return () if self.weight is None else (self.weight,)

    def structure(self, at: int, found: Structure) -> None:
        """Add the head matrix."""
        if self.weight is not None:
            found.add_head(at, self.source, self.weight)

    def float_step(self, s: FloatPass) -> None:
        """Compute the logits of all rows in float32, as the rows of `LOGITS`, unless they are already known."""
        x = s.rows[self.source]
        s.keep(x)
        if self.weight is not None and LOGITS not in s.rows:
            logits = s.product(x, self.weight)
            s.rows[LOGITS] = fp32.soft_cap(logits, float(self.cap)) if self.cap else logits

    def derivative(self, s: FloatPass) -> None:
        """Pass the gradient of the logits to the source; a soft cap has the slope 1 - (logit / cap)^2."""
        (x,) = s.kept()
        g: Floats = s.take(LOGITS)
        if self.weight is None:
            self.refuse_derivative(" without a matrix")
            return
        if self.cap:
            ratio = s.rows[LOGITS] / np.float32(self.cap)
            g = (g * (np.float32(1.0) - ratio * ratio)).astype(np.float32)
        s.learn_product(self.weight, g, x)
        s.add(self.source, s.back(g, self.weight))
