"""Mixtures of experts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ModelError, ParameterError
from intact.models.aspects.cutting import Cutter
from intact.models.aspects.lowering import Lowering
from intact.models.aspects.op import Op
from intact.models.aspects.parameters import bias_values, integer_bias
from intact.models.aspects.step import ReferenceStep, Rows
from intact.models.aspects.tables import Tables
from intact.models.aspects.work import PRODUCT, ROWS, Label, RowCounts, Sizes, WorkSize
from intact.numerics.activations import Quantized, quantize
from intact.numerics.experts import (
    SCALE_FRACTION,
    SCALE_LIMIT,
    SIGMOID_FRACTION,
    ExpertWeights,
    Groups,
    choose,
    scaled,
    weight_factor,
)
from intact.numerics.fixed import sat32
from intact.numerics.gate import GATES, Activation, gated
from intact.numerics.matmul import matmul
from intact.numerics.profiles import ProfileParts


@dataclass(frozen=True)
class Expert:
    """The matrices of one gated feed-forward network, and their biases, if any.

    If the network has no gate, `gate` equals `up`; with ReLU the network then squares positive values.
    """

    gate: str
    up: str
    down: str
    gate_bias: str | None = None
    up_bias: str | None = None
    down_bias: str | None = None


@dataclass(frozen=True)
class Experts(Op):
    """A mixture of gated feed-forward networks; each row uses the `used` experts with the largest scores.

    target = sum of weight * down(activation(gate source) * (up source)) over these experts; added to the target if
    `accumulate`. On ties the expert with the smaller number is chosen. The weights are computed from the scores as
    `weights` specifies, and multiplied by `factor` and by the expert's value in the tensor named by `scales`, if any.
    `bias` names a tensor with one value per expert. The chosen experts are then the ones with the largest sum of this
    value and the sigmoid of the score or, if the weights are a softmax, of this value and the share in a softmax over
    all experts. With several `groups` of consecutive experts, a row uses only experts from its `groups_used` best
    groups, ranked by their largest score or, with a bias, by the total of their two largest sums.
    """

    source: str
    scores: str
    target: str
    experts: tuple[Expert, ...]
    used: int
    hidden: int
    kind: Activation
    weights: ExpertWeights
    factor: Fraction = Fraction(1)
    accumulate: bool = False
    bias: str | None = None
    groups: int = 1
    groups_used: int = 1
    scales: str | None = None

    noun = "mixtures of experts"
    native = "experts"

    def reads(self) -> set[str]:
        """Return the source and the scores, and the target if it is added to."""
        return {self.source, self.scores, self.target} if self.accumulate else {self.source, self.scores}

    def writes(self) -> set[str]:
        """Return the target."""
        return {self.target}

    def check_profile(self, tables: Tables, profile: ProfileParts) -> None:
        """Raise if the profile does not support mixtures."""
        if profile.for_linear_alone:
            raise ParameterError(
                "mixtures of experts run in the profiles int8 and fp32, and those of narrow activations"
            )

    def step(self, s: ReferenceStep) -> None:
        """Choose experts for each row, and add their weighted results."""
        bias, scales = choice_bias(s.tables, self), expert_scales(s.tables, self)
        groups = Groups(self.groups, self.groups_used)
        factor = weight_factor(self.factor)
        choice = choose(s.rows[self.scores], self.used, self.weights, factor, bias, groups, scales)
        source = s.quantized(self.source)
        total = np.zeros((len(s.rows[self.source]), s.tables.buffers[self.target].width), np.int64)
        for number in np.unique(choice.experts).tolist():
            chosen, place = np.nonzero(choice.experts == number)
            y = self._expert(s, self.experts[number], Quantized(*(part[chosen] for part in source)))
            total[chosen] += scaled(y, choice.weights[chosen, place])
        s.rows[self.target] = s.rows[self.target] + total if self.accumulate else total

    def _expert(self, s: ReferenceStep, expert: Expert, a: Quantized) -> Rows:
        def product(a: Quantized, weight: str, bias: str | None, fraction: int) -> Rows:
            y = matmul(a, s.memory.weight(weight), fraction)
            return y if bias is None else y + integer_bias(s.tables, bias, fraction)

        gate = sat32(product(a, expert.gate, expert.gate_bias, 16))
        up = sat32(product(a, expert.up, expert.up_bias, 16))
        hidden = quantize(gated(gate, up, self.kind), 20, s.profile.scheme)
        return product(hidden, expert.down, expert.down_bias, 20)

    def lower(self, low: Lowering) -> dict[str, Any]:
        """Return all matrices, and the parameters for choosing and weighting experts."""
        kinds = get_args(ExpertWeights)
        factors = weight_factor(self.factor), float(self.factor)
        matrices = [
            low.target(self.target, weight, low.bias(bias, fraction))
            for e in self.experts
            for weight, bias, fraction in (
                (e.gate, e.gate_bias, 16),
                (e.up, e.up_bias, 16),
                (e.down, e.down_bias, 20),
            )
        ]
        fields = {
            "source": low.buffer(self.source),
            "second": low.buffer(self.scores),
            "target": low.buffer(self.target),
            "width": self.hidden,
            "accumulate": self.accumulate,
            "gate": GATES.index(self.kind),
            "bias": low.bias(self.bias, SIGMOID_FRACTION),
            "routing": (self.used, kinds.index(self.weights), *factors, self.groups, self.groups_used),
            "targets": matrices,
        }
        scales = expert_scales(low.tables, self)
        if self.scales is not None and scales is not None:
            fields["added"] = low.numbers(scales, bias_values(low.tables, self.scales))
        return fields

    def labels(self) -> dict[int, Label]:
        """Label the sorting of rows by expert, and the number of experts per row."""
        return {
            ROWS: ("quantise", "rows by expert"),
            PRODUCT: ("experts", f"{self.used} of {len(self.experts)}"),
        }

    def work(self, part: int, sizes: Sizes, counts: RowCounts) -> WorkSize:
        """Count rows and codes, or the matrices of as many experts as the rows may use."""
        if part == ROWS:
            codes = sizes.codes(self.source) + (4 * self.hidden if sizes.float32 else self.hidden * 9)
            return WorkSize(0, counts.rows * (sizes.row(self.source) + self.used * codes))
        e = self.experts[0]
        names = {e.gate, e.up, e.down}
        macs = sum(int(np.prod(sizes.tables.tensors[name].shape)) for name in names)
        size = sum(sizes.weight(name) for name in names)  # of one expert
        read = min(counts.rows * self.used, counts.steps * len(self.experts))
        moved = read * size + counts.rows * self.used * sizes.row(self.target)
        return WorkSize(counts.rows * self.used * macs, moved)

    def cut(self, cutter: Cutter) -> None:
        """Raise: mixtures of experts cannot be split."""
        self.refuse_cut()

    def matrices(self) -> Iterable[str]:
        """Return the matrices of all experts."""
        return [name for e in self.experts for name in (e.gate, e.up, e.down)]


def choice_bias(tables: Tables, op: Experts) -> NDArray[np.int64] | None:
    """Return the values (Q30) added to the experts' sigmoids or shares when choosing; None if there are none."""
    return None if op.bias is None else integer_bias(tables, op.bias, SIGMOID_FRACTION)


def expert_scales(tables: Tables, op: Experts) -> NDArray[np.int64] | None:
    """Return the values (Q24) that multiply the experts' weights; None if there are none.

    Raises
    ------
    ModelError
        If a value is too large.
    """
    if op.scales is None:
        return None
    scales = integer_bias(tables, op.scales, SCALE_FRACTION)
    if np.abs(scales).max() >= SCALE_LIMIT << SCALE_FRACTION:
        raise ModelError(f"tensor {op.scales}: factors of experts' weights must be below {SCALE_LIMIT}")
    return scales
