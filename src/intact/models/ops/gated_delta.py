"""The gated delta rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from intact.models.aspects.convolved import native_taps
from intact.models.aspects.cutting import Cutter
from intact.models.aspects.lowering import Lowering
from intact.models.aspects.op import Recurrent
from intact.models.aspects.parameters import bias_values
from intact.models.aspects.recurrence import NativeScan, convolved_rows, head_parameters
from intact.models.aspects.step import ReferenceStep
from intact.models.aspects.tables import Tables
from intact.models.aspects.work import PRODUCT, ROWS, Label, RowCounts, Sizes, WorkSize
from intact.numerics.delta import DeltaRows, DeltaShape, DeltaWeights, delta_row, delta_rows, end_block, written_row
from intact.numerics.fixed import LIMIT
from intact.numerics.profiles import ProfileParts
from intact.numerics.scan import BLOCK


@dataclass(frozen=True)
class GatedDelta(Recurrent):
    """The gated delta rule (arXiv 2412.06464); first appends a row to the cache.

    The source holds queries and keys (`groups` heads of `states` columns each) and values (`heads` of `width`), which
    pass through a causal convolution over `taps` positions and SiLU; queries and keys are then normalised to unit
    length. `steps` holds dt and `beta` holds b, one number per head each. A head's state follows ``S = exp(dt A) S``,
    ``S += k (sigmoid(b) (v - S^T k))^T``, and the target is ``S^T q``. Tensors: `weight` of the convolution,
    `step_bias` added to dt before softplus, and `decay` with A (negative) of each head. Head h reads key h mod `groups`
    if `tiled`; otherwise consecutive heads share a key. `layer` numbers the recurrent layers of a program, as in
    `Scan`.
    """

    source: str
    steps: str
    beta: str
    target: str
    weight: str
    step_bias: str
    decay: str
    layer: int
    heads: int
    width: int
    groups: int
    states: int
    taps: int
    tiled: bool = False

    @property
    def shape(self) -> DeltaShape:
        """Sizes in the form that the arithmetic uses."""
        return DeltaShape(self.heads, self.width, self.groups, self.states, self.tiled)

    noun = "gated delta nets"
    native = "delta"

    @property
    def channels(self) -> int:
        """Number of channels of the convolution: queries, keys and values."""
        return self.shape.channels

    def reads(self) -> set[str]:
        """Return source, steps and beta."""
        return {self.source, self.steps, self.beta}

    def writes(self) -> set[str]:
        """Return the target."""
        return {self.target}

    def check(self, tables: Tables, profile: ProfileParts) -> None:
        """Raise if a parameter is too large."""
        delta_weights(tables, self)

    def cached_shapes(self, tables: Tables) -> list[tuple[int, ...]]:
        """Return the shapes of rows before the convolution, and of queries, keys, steps and written rows."""
        both = (self.groups * self.states,)
        return [(self.shape.channels,), (), both, both, (self.heads,), (self.shape.inner,)]

    def state_shapes(self) -> list[tuple[int, ...]]:
        """Return the shape of states."""
        return [(self.heads, self.states, self.width)]

    def position_bytes(self, tables: Tables, page_size: int) -> int:
        """Count rows before and after the convolution, written rows, steps, exponents, and states."""
        shape, state = self.shape, 4 * self.shape.inner * self.states
        kept = 2 * shape.channels + 4 * shape.columns + 4 * shape.inner + 8 * self.heads + 16
        return kept + -(-state // page_size)

    def step(self, s: ReferenceStep) -> None:
        """Convolve, and let each position write to the state and read from it."""
        weights, shape, row = s.memory.once(delta_weights, self), self.shape, 0
        mixed = convolved_rows(s, self, self.source, weights.taps, np.zeros(shape.channels, np.int64))
        *new, values = delta_rows(mixed, s.rows[self.steps], weights.step_bias, shape)
        out, kept, (states,) = np.zeros(values.shape, np.int64), s.memory.cached(self)[2:], s.memory.states(self)
        for chunk, _, slots, _ in s.by_chunk():
            for p in range(chunk.position, chunk.end):
                for array, values_of in zip(kept, new, strict=False):
                    array[slots[p]] = values_of[row]
                first = p - p % BLOCK
                block = slots[first : p + 1]
                state = np.zeros(states.shape[1:], np.int64)
                if first:
                    state = states[s.memory.state(chunk.pages, first - 1)]
                rows = DeltaRows(*(array[block] for array in kept))
                rows.written[-1] = written_row(rows, values[row], s.rows[self.beta][row], state, weights.rate, shape)
                kept[-1][slots[p]] = rows.written[-1]
                if p % BLOCK == BLOCK - 1:
                    new_state = end_block(rows, state, weights.rate, shape)
                    states[s.memory.state(chunk.pages, p)] = new_state
                    s.memory.saturated += int((np.abs(new_state) == LIMIT).sum())
                out[row] = delta_row(rows, state, weights.rate, shape)
                row += 1
        s.set(self.target, out, 16)

    def lower(self, low: Lowering) -> dict[str, Any]:
        """Return the buffers, the shape and the parameters."""
        w = delta_weights(low.tables, self)
        step_bias, rate = (
            low.numbers(values, bias_values(low.tables, name))
            for name, values in ((self.step_bias, w.step_bias), (self.decay, w.rate))
        )
        return {
            "source": low.buffer(self.source),
            "second": low.buffer(self.steps),
            "third": low.buffer(self.beta),
            "target": low.buffer(self.target),
            "layer": self.layer,
            "bias": low.numbers(*native_taps(low.tables, self)),
            "scan": NativeScan(
                *self.shape[:4], self.taps, step_bias=step_bias, rate=rate, delta=True, tiled=self.tiled
            ),
        }

    def labels(self) -> dict[int, Label]:
        """Label the convolution, and the number of heads."""
        return {ROWS: ("convolve", f"{self.taps} positions"), PRODUCT: ("delta rule", f"{self.heads} heads")}

    def work(self, part: int, sizes: Sizes, counts: RowCounts) -> WorkSize:
        """Count the stored rows, or the state and half a block, each read with a key and with a query."""
        shape, half = self.shape, BLOCK // 2
        if part == ROWS:
            read = sizes.row(self.source) + sizes.row(self.steps)
            return WorkSize(0, counts.rows * (read + (2 + self.taps) * sizes.kept * shape.channels))
        state = shape.inner * self.states
        macs = 3 * state + 2 * half * (shape.inner + self.heads * self.states)
        moved = half * (sizes.kept * shape.columns + 4 * shape.inner) + sizes.row(self.target)
        return WorkSize(counts.rows * macs, counts.rows * (moved + 4 * state))

    def cut(self, cutter: Cutter) -> None:
        """Raise: gated delta nets cannot be split."""
        self.refuse_cut()


def delta_weights(tables: Tables, op: GatedDelta) -> DeltaWeights:
    """Return the parameters of a gated delta layer as integers.

    Raises
    ------
    ModelError
        If a parameter is too large, or a head's state would grow without input.
    """
    return DeltaWeights(*head_parameters(tables, op))
