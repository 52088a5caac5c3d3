"""Products with matrices."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.models.aspects.cutting import Cutter
from intact.models.aspects.derivative import FloatPass
from intact.models.aspects.lowering import Lowering
from intact.models.aspects.op import Op
from intact.models.aspects.parameters import float_values, integer_bias
from intact.models.aspects.shader import ProductTarget, Shading
from intact.models.aspects.step import ReferenceStep
from intact.models.aspects.structure import Structure
from intact.models.aspects.tables import Tables
from intact.models.aspects.work import PRODUCT, ROWS, Label, RowCounts, Sizes, WorkSize, tensor_roles
from intact.models.ops.all_gather import AllGather
from intact.numerics.activations import FixedScale, Quantized, fixed_scale, quantize, quantize_fixed
from intact.numerics.dequantize import dequantize
from intact.numerics.exact_product import exact_product
from intact.numerics.fixed import sat32
from intact.numerics.matmul import matmul
from intact.numerics.profiles import ProfileParts
from intact.numerics.sparsity import column_norms, sparsify


@dataclass(frozen=True)
class Target:
    """One matrix of a Linear, and the buffer that its result is written to, or added to if `accumulate`."""

    buffer: str
    weight: str
    bias: str | None = None
    accumulate: bool = False


@dataclass(frozen=True)
class Linear(Op):
    """Products of one row with several matrices; the row is quantised only once.

    `largest` names a one-element tensor with the source's largest magnitude on calibration text, from which profiles
    with static activations derive their scale (`intact.models.input_limits`).
    """

    source: str
    targets: tuple[Target, ...]
    largest: str | None = None

    noun = "products with matrices"
    native = "linear"

    def reads(self) -> set[str]:
        """Return the source, and the targets that are added to."""
        return {self.source} | {target.buffer for target in self.targets if target.accumulate}

    def writes(self) -> set[str]:
        """Return the targets."""
        return {target.buffer for target in self.targets}

    def check(self, tables: Tables, profile: ProfileParts) -> None:
        """Raise if the profile needs a scale that the model lacks."""
        input_scale(tables, self, profile)

    def step(self, s: ReferenceStep) -> None:
        """Quantise the rows once and multiply them by each matrix."""
        a = self._entering(s)
        s.memory.record(s.index, a)
        multiply = exact_product if s.profile.scheme.wide else matmul
        for target in self.targets:
            spec = s.tables.buffers[target.buffer]
            y = multiply(a, s.memory.weight(target.weight), spec.fraction)
            y += 0 if target.bias is None else integer_bias(s.tables, target.bias, spec.fraction)
            y = y if spec.wide else sat32(y)
            s.set(target.buffer, s.rows[target.buffer] + y if target.accumulate else y)

    def _entering(self, s: ReferenceStep) -> Quantized:
        x, fraction = s.rows[self.source], s.fraction[self.source]
        scale = s.memory.once(input_scale, self, s.profile)
        if scale is not None:
            a = quantize_fixed(x, fraction, scale)
        else:
            a = quantize(x, fraction, s.profile.scheme, s.memory.outliers(self.source))
        kept = s.memory.once(kept_inputs, self, s.profile)
        return a if kept is None else sparsify(a, x.shape[1], kept.keep, kept.norms, kept.rule)

    def lower(self, low: Lowering) -> dict[str, Any]:
        """Return the matrices, and the profile's parameters for their inputs."""
        targets = []
        for target in self.targets:
            bias = low.bias(target.bias, low.tables.buffers[target.buffer].fraction)
            targets.append(low.target(target.buffer, target.weight, bias, target.accumulate))
        fields: dict[str, Any] = {"source": low.buffer(self.source), "targets": targets}
        if outliers := low.outliers(self.source):
            fields["outliers"] = outliers
        if (scale := input_scale(low.tables, self, low.profile)) is not None:
            fields["scale"] = tuple(scale)
        if (kept := kept_inputs(low.tables, self, low.profile)) is not None:
            fields |= {"keep": kept.keep, "random": kept.rule == "random"}
            if kept.norms is not None:
                fields["norms"] = kept.norms.tolist()
        return fields

    def shade(self, g: Shading) -> None:
        """Quantise the rows once and multiply them by each matrix."""
        source, targets = g.row(self.source), []
        for target in self.targets:
            spec = g.tables.buffers[target.buffer]
            bias = g.bias(target.bias, spec.fraction)
            targets.append(ProductTarget(target.weight, g.row(target.buffer), bias, target.accumulate))
        g.product(g.quantize(source, g.fraction[self.source]), targets)
        for target in self.targets:
            g.fraction[target.buffer] = g.tables.buffers[target.buffer].fraction

    def labels(self) -> dict[int, Label]:
        """Label the quantised rows, and the matrices."""
        names = tensor_roles(target.weight for target in self.targets)
        return {ROWS: ("quantise", self.source), PRODUCT: ("linear", names)}

    def work(self, part: int, sizes: Sizes, counts: RowCounts) -> WorkSize:
        """Count rows and their codes, or codes, matrices and results."""
        if part == ROWS:
            return WorkSize(0, counts.rows * (sizes.row(counts.source or self.source) + sizes.codes(self.source)))
        found = WorkSize(0, 0)
        for target in self.targets:
            output = sizes.row(target.buffer) // sizes.tables.buffers[target.buffer].width * (1 + target.accumulate)
            more = sizes.product(target.weight, counts, counts.rows, self.source, output)
            found = WorkSize(found.macs + more.macs, found.bytes + more.bytes)
        return found

    def cut(self, cutter: Cutter) -> None:
        """Append the products for this rank's outputs; an exchange adds results that belong to a whole row."""
        source = cutter.whole(self.source)
        targets, sums = [], []
        for target in self.targets:
            parts = cutter.outputs(target.buffer)
            part = parts[cutter.rank]
            weight = cutter.tensor(target.weight, part)
            bias = None if target.bias is None else cutter.tensor(target.bias, part)
            buffer = target.buffer
            if target.accumulate:
                buffer = cutter.added(buffer + ".own", buffer, part.width)
                sums.append(AllGather(buffer, target.buffer, tuple(p.width for p in parts), accumulate=True))
            else:
                cutter.written(buffer, parts)
            targets.append(Target(buffer, weight, bias))
        largest = None if self.largest is None else cutter.tensor(self.largest)
        cutter.append(Linear(source, tuple(targets), largest))
        for exchange in sums:
            cutter.append(exchange)

    def matrices(self) -> Iterable[str]:
        """Return the matrices of all targets."""
        return [target.weight for target in self.targets]

    def structure(self, at: int, found: Structure) -> None:
        """Add the products with the matrices."""
        for target in self.targets:
            found.add_product(
                at, self.source, target.buffer, target.weight, bias=target.bias, accumulate=target.accumulate
            )

    def float_step(self, s: FloatPass) -> None:
        """Multiply rows by each matrix in float32."""
        x = s.rows[self.source]
        s.keep(x)
        if s.last:
            return
        for target in self.targets:
            y = s.product(x, target.weight)
            y = y if target.bias is None else y + s.vector(target.bias)
            s.rows[target.buffer] = s.rows[target.buffer] + y if target.accumulate else y

    def derivative(self, s: FloatPass) -> None:
        """Pass g W to the source, in the order of targets, and g^T x to each matrix."""
        (x,) = s.kept()
        for target in self.targets:
            g = s.gradient(target.buffer) if target.accumulate else s.take(target.buffer)
            s.learn_product(target.weight, g, x)
            s.learn_sum(target.bias, g)
            s.add(self.source, s.back(g, target.weight))


class KeptInputs(NamedTuple):
    """Sparsity of a product's inputs: the number kept per row, the scoring rule, and column norms if it uses them."""

    keep: int
    rule: str
    norms: NDArray[np.int32] | None


def kept_inputs(tables: Tables, op: Linear, profile: ProfileParts) -> KeptInputs | None:
    """Return the inputs of a product that the profile keeps; None if it keeps all."""
    if profile.sparsity is None:
        return None
    norms = None
    if profile.sparsity.rule == "wina":
        tensors = [tables.tensors[target.weight] for target in op.targets]
        norms = column_norms(dequantize(t.kind, t.data, t.shape) for t in tensors)
    return KeptInputs(profile.sparsity.kept(tables.buffers[op.source].width), profile.sparsity.rule, norms)


def input_scale(tables: Tables, op: Linear, profile: ProfileParts) -> FixedScale | None:
    """Return the common scale of all rows that enter a product; None if each row has its own.

    Raises
    ------
    ParameterError
        If the profile needs a common scale but the model has none.
    """
    if not profile.scheme.static:
        return None
    if op.largest is None:
        name = tables.tensors[op.targets[0].weight].name
        raise ParameterError(
            f"the profile {profile.scheme.name} needs a model with scales of its products' inputs, and {name} has "
            "none; intact quantize --static writes one"
        )
    return fixed_scale(float(float_values(tables.tensors[op.largest], 1, "largest input")[0]))
