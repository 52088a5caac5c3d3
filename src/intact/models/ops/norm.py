"""RMS norms and layer norms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ModelError, ParameterError
from intact.models.aspects.cutting import Cutter
from intact.models.aspects.derivative import FloatPass
from intact.models.aspects.lowering import Lowering
from intact.models.aspects.op import Op
from intact.models.aspects.parameters import float_values, integer_bias
from intact.models.aspects.shader import Shading
from intact.models.aspects.step import ReferenceStep
from intact.models.aspects.structure import Structure
from intact.models.aspects.tables import Tables
from intact.models.aspects.work import ROWS, Label, RowCounts, Sizes, WorkSize, tensor_roles
from intact.numerics import fp32
from intact.numerics.fixed import rshift, sat32
from intact.numerics.fp32 import Floats
from intact.numerics.norm import Gain, layer_norm, make_gain, rmsnorm


@dataclass(frozen=True)
class Norm(Op):
    """RMSNorm of a row, or of each of `heads` slices; written to the target, or added to it if `accumulate`.

    If `centered`, it is a layer norm: the norm of a whole row minus its mean, plus a `bias` if given. With several
    `groups`, the columns are divided into that many runs, each normed separately, and the gain still has a value per
    column; with `heads`, all slices share one gain. The gain is the named tensor plus `offset` (Gemma's checkpoints
    store the gain minus one), times `factor` (Granite's factor of the logits).
    """

    source: str
    target: str
    gain: str
    eps: float
    heads: int = 0
    accumulate: bool = False
    offset: float = 0.0
    factor: Fraction = Fraction(1)
    centered: bool = False
    bias: str | None = None
    groups: int = 1

    noun = "norms"
    native = "norm"

    def reads(self) -> set[str]:
        """Return the source, and the target if it is added to."""
        return {self.source, self.target} if self.accumulate else {self.source}

    def writes(self) -> set[str]:
        """Return the target."""
        return {self.target}

    def step(self, s: ReferenceStep) -> None:
        """Norm rows, or slices of rows."""
        gain, x = s.memory.once(integer_gain, self), s.rows[self.source]
        wide = s.tables.buffers[self.target].wide
        if self.heads:
            heads = rmsnorm(x.reshape(-1, len(gain.factor)), s.fraction[self.source], gain, 16)
            s.rows[self.target] = sat32(heads).reshape(x.shape)
            return
        if self.centered:
            fraction = 20 if wide else 16
            y = layer_norm(x, gain, None if self.bias is None else integer_bias(s.tables, self.bias, 20))
            y = y if wide else sat32(rshift(y, 4))
        else:
            fraction = 20 if wide else gain.fraction
            y = rmsnorm(x, 20, gain, fraction, self.groups)
        s.set(self.target, s.rows[self.target] + y if self.accumulate else y, fraction)

    def lower(self, low: Lowering) -> dict[str, Any]:
        """Return gain and bias."""
        gain = integer_gain(low.tables, self)
        return {
            "source": low.buffer(self.source),
            "target": low.buffer(self.target),
            "weight": low.gain(gain, gain_values(low.tables, self), self.eps),
            "bias": low.bias(self.bias, 20),
            "heads": self.heads,
            "groups": self.groups,
            "accumulate": self.accumulate,
            "centered": self.centered,
        }

    def shade(self, g: Shading) -> None:
        """Norm rows, or slices of rows: a workgroup each."""
        gain, source, place = integer_gain(g.tables, self), g.row(self.source), g.row(self.target)
        source_fraction, fraction = g.fraction[self.source], 20 if place.wide else 16
        if not (self.heads or self.centered):
            fraction = 20 if place.wide else gain.fraction
        slices = self.heads or self.groups
        epsilon = int(rshift(np.int64(gain.epsilon), 2 * (20 - source_fraction)))
        numbers = {
            "source": source.offset,
            "source_wide": source.wide,
            "place": place.offset,
            "place_wide": place.wide,
            "width": source.width // slices,
            "factor": g.vector(gain.factor),
            "factor_step": 0 if self.heads else len(gain.factor) // slices,
            "drop": 60 - gain.exponent - (20 if self.centered else fraction),
            "epsilon_low": epsilon & 0xFFFFFFFF,
            "epsilon_high": epsilon >> 32,
            "accumulate": int(self.accumulate),
            "centered": int(self.centered),
            "bias": g.bias(self.bias, 20),
        }
        g.dispatch("norm", {"norm": numbers}, slices)
        if not self.heads:
            g.fraction[self.target] = fraction

    def labels(self) -> dict[int, Label]:
        """Label the gain."""
        return {ROWS: ("norm", tensor_roles([self.gain]))}

    def work(self, part: int, sizes: Sizes, counts: RowCounts) -> WorkSize:
        """Count the source and the target."""
        moved = sizes.row(self.source) + sizes.row(self.target) * (1 + self.accumulate)
        return WorkSize(0, counts.rows * moved)

    def cut(self, cutter: Cutter) -> None:
        """Norm a rank's whole heads, or whole rows on all ranks."""
        gain, bias = cutter.tensor(self.gain), None if self.bias is None else cutter.tensor(self.bias)
        parts = cutter.split.get(self.source)
        if parts is not None and self.heads:
            size = cutter.tables.buffers[self.source].width // self.heads
            if any(part.start % size or part.stop % size for part in parts):
                raise ParameterError(
                    f"tensor parallel cannot cut norms over whole rows of {self.source} "
                    f"({cutter.tables.architecture}): load in one process"
                )
            cutter.written(self.target, parts)
            cutter.append(replace(self, heads=parts[cutter.rank].width // size))
            return
        source = cutter.whole(self.source)
        target = self.target if self.accumulate else cutter.written(self.target)
        cutter.append(replace(self, source=source, target=target, gain=gain, bias=bias))

    def structure(self, at: int, found: Structure) -> None:
        """Add the norm and its gain."""
        if self.accumulate:
            found.add_sum(self.source, self.target, self.gain)
        else:
            found.add_norm(at, self.source, self.target, self.gain, self.offset)

    def float_step(self, s: FloatPass) -> None:
        """Norm rows, heads or groups in float32."""
        x, gain = self._parts_of(s.rows[self.source]), self._gain_parts(s)
        if self.centered:
            x = x - (fp32.lane_sum(x) / np.float32(x.shape[-1]))[..., None]
        r = np.float32(1.0) / np.sqrt(fp32.dot(x, x) / np.float32(x.shape[-1]) + np.float32(self.eps))
        unit = x * r[..., None]
        y = (unit * gain).reshape(s.rows[self.source].shape)
        y = y if self.bias is None else y + s.vector(self.bias)
        s.keep(unit, r)
        s.rows[self.target] = s.rows[self.target] + y if self.accumulate else y

    def derivative(self, s: FloatPass) -> None:
        """Pass r (h - n dot(h, n) / K), with h = g gain and n the normed row; layer norms also subtract the mean."""
        unit, r = s.kept()
        g = s.gradient(self.target) if self.accumulate else s.take(self.target)
        parts = self._parts_of(g)
        s.learn_sum(self.bias, g)
        if s.learns(self.gain):
            rows = parts * unit
            s.learn_sum(
                self.gain, self._factored(rows.reshape(-1, rows.shape[-1]) if self.heads else rows.reshape(g.shape))
            )
        h = parts * self._gain_parts(s)
        dx = r[..., None] * (h - unit * (fp32.dot(h, unit) / np.float32(unit.shape[-1]))[..., None])
        if self.centered:
            dx = dx - (fp32.lane_sum(dx) / np.float32(dx.shape[-1]))[..., None]
        s.add(self.source, dx.reshape(g.shape))

    def _parts_of(self, x: Floats) -> Floats:
        """Return rows as the slices that are normed separately, (positions, slices, width)."""
        return x.reshape(len(x), self.heads or self.groups, -1)

    def _factored(self, x: Floats) -> Floats:
        return x if self.factor == 1 else x * np.float32(float(self.factor))

    def _gain_parts(self, s: FloatPass) -> Floats:
        """Return the gain of each slice, (slices or 1, width)."""
        gain = s.vector(self.gain)
        gain = self._factored(gain + np.float32(self.offset) if self.offset else gain)
        return gain.reshape(1 if self.heads else self.groups, -1)


def gain_values(tables: Tables, op: Norm) -> NDArray[np.float32]:
    """Return a norm's gain as float32."""
    tensor = tables.tensors[op.gain]
    values = float_values(tensor, tensor.shape[0], "gain")
    values = values + np.float32(op.offset) if op.offset else values
    return values if op.factor == 1 else (values * float(op.factor)).astype(np.float32)


def integer_gain(tables: Tables, op: Norm) -> Gain:
    """Return a norm's gain as integers, after checking the bounds of the sums."""
    gain = make_gain(gain_values(tables, op), op.eps, op.groups)
    if not -20 <= gain.exponent <= 30:
        name, size = tables.tensors[op.gain].name, f"2^{gain.exponent}"
        raise ModelError(f"tensor {name}: the largest gain times sqrt(n) is {size}, beyond what fixed point holds")
    return gain
