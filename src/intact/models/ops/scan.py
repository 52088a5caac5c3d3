"""The state-space layer of Mamba-2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.models.aspects.convolved import native_taps
from intact.models.aspects.cutting import Cutter
from intact.models.aspects.lowering import Lowering
from intact.models.aspects.op import Recurrent
from intact.models.aspects.parameters import bias_values, integer_bias
from intact.models.aspects.recurrence import NativeScan, convolved_rows, head_parameters
from intact.models.aspects.step import ReferenceStep
from intact.models.aspects.tables import Tables
from intact.models.aspects.work import PRODUCT, ROWS, Label, RowCounts, Sizes, WorkSize
from intact.numerics.profiles import ProfileParts
from intact.numerics.scan import (
    BLOCK,
    RecurrentState,
    ScanShape,
    ScanWeights,
    cached_rows,
    end_block,
    scan_row,
    scan_rows,
    zero_state,
)


@dataclass(frozen=True)
class Scan(Recurrent):
    """The state-space layer of Mamba-2 (arXiv 2405.21060); first appends a row to the cache.

    The source holds x (`heads` times `width` channels), B and C (`groups` times `states` columns each), which pass
    through a causal convolution over `taps` positions and SiLU; `steps` holds dt, one number per head. A head's state
    follows ``S = exp(dt A) S + dt x B^T``, and the target is ``S C + D x``. Tensors: `weight` and `bias` (None: no
    bias) of the convolution, `step_bias` added to dt before softplus, `decay` with A (negative) and `skip` with D of
    each head. Heads share B and C in groups. `layer` numbers the recurrent layers of a program, each of which has its
    own part of the cache: the rows, and the state at the end of each block of 64 positions.
    """

    source: str
    steps: str
    target: str
    weight: str
    bias: str | None
    step_bias: str
    decay: str
    skip: str
    layer: int
    heads: int
    width: int
    groups: int
    states: int
    taps: int

    @property
    def shape(self) -> ScanShape:
        """Sizes in the form that the arithmetic uses."""
        return ScanShape(self.heads, self.width, self.groups, self.states)

    noun = "state-space layers"
    native = "scan"

    @property
    def channels(self) -> int:
        """Number of channels of the convolution: x, B and C."""
        return self.shape.channels

    def reads(self) -> set[str]:
        """Return source and steps."""
        return {self.source, self.steps}

    def writes(self) -> set[str]:
        """Return the target."""
        return {self.target}

    def check(self, tables: Tables, profile: ProfileParts) -> None:
        """Raise if a parameter is too large."""
        scan_weights(tables, self)

    def cached_shapes(self, tables: Tables) -> list[tuple[int, ...]]:
        """Return the shapes of rows before the convolution, of x, B and C, each with its exponent, and of steps."""
        both = (self.groups * self.states,)
        return [(self.shape.channels,), (), (self.shape.inner,), (), both, (), both, (), (self.heads,)]

    def state_shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes of states and their exponents."""
        return [(self.heads, self.width, self.states), (self.heads,)]

    def position_bytes(self, tables: Tables, page_size: int) -> int:
        """Count rows before and after the convolution, steps, exponents, and states."""
        state = 4 * self.shape.inner * self.states + 4 * self.heads
        return 4 * self.shape.channels + 4 * self.heads + 16 + -(-state // page_size)

    def step(self, s: ReferenceStep) -> None:
        """Convolve, store the rows, and read each position's state."""
        weights, kept = s.memory.once(scan_weights, self), s.memory.cached(self)[2:]
        mixed, out = convolved_rows(s, self, self.source, weights.taps, weights.bias), list[Any]()
        for chunk, rows, _, own in s.by_chunk():
            new = scan_rows(mixed[rows], s.rows[self.steps][rows], weights.step_bias, self.shape)
            for array, values in zip(kept, (*new.x, *new.b, *new.c, new.step), strict=True):
                array[own] = values
            out += [self._row(s, weights, chunk.pages, p) for p in range(chunk.position, chunk.end)]
        s.set(self.target, np.array(out), 16)

    def _row(self, s: ReferenceStep, weights: ScanWeights, pages: NDArray[np.int32], p: int) -> NDArray[np.int64]:
        """Return the result of one position, whose rows are cached; store the state if a block ends there."""
        first, states = p - p % BLOCK, s.memory.states(self)
        block = s.memory.slots(pages)[first : p + 1]
        rows = cached_rows([array[block] for array in s.memory.cached(self)[2:]])
        state = zero_state(self.shape)
        if first:
            state = RecurrentState(*(array[s.memory.state(pages, first - 1)] for array in states))
        if p % BLOCK == BLOCK - 1:
            for array, value in zip(states, end_block(rows, state, weights, self.shape), strict=True):
                array[s.memory.state(pages, p)] = value
        return scan_row(rows, state, weights, self.shape)

    def lower(self, low: Lowering) -> dict[str, Any]:
        """Return the buffers, the shape and the parameters."""
        w = scan_weights(low.tables, self)
        zeros = np.zeros(self.shape.channels, np.float32)
        bias = low.numbers(w.bias, zeros if self.bias is None else bias_values(low.tables, self.bias))
        step_bias, rate, skip = (
            low.numbers(values, bias_values(low.tables, name))
            for name, values in ((self.step_bias, w.step_bias), (self.decay, w.rate), (self.skip, w.skip))
        )
        return {
            "source": low.buffer(self.source),
            "second": low.buffer(self.steps),
            "target": low.buffer(self.target),
            "layer": self.layer,
            "bias": low.numbers(*native_taps(low.tables, self)),
            "scan": NativeScan(*self.shape, self.taps, bias, step_bias, rate, skip),
        }

    def labels(self) -> dict[int, Label]:
        """Label the convolution, and the number of heads."""
        return {ROWS: ("convolve", f"{self.taps} positions"), PRODUCT: ("scan", f"{self.heads} heads")}

    def work(self, part: int, sizes: Sizes, counts: RowCounts) -> WorkSize:
        """Count the stored rows, or the state and half a block, which a row reads on average."""
        kept = sizes.kept * self.shape.channels
        if part == ROWS:
            read = sizes.row(self.source) + sizes.row(self.steps)
            return WorkSize(0, counts.rows * (read + (2 + self.taps) * kept))
        state, half = self.shape.inner * self.states, BLOCK // 2
        macs = 2 * state + half * (self.shape.inner + self.groups * self.states)
        moved = half * kept + sizes.row(self.target)
        return WorkSize(counts.rows * macs, counts.rows * (moved + 4 * state))

    def cut(self, cutter: Cutter) -> None:
        """Raise: state-space layers cannot be split."""
        self.refuse_cut()


def scan_weights(tables: Tables, op: Scan) -> ScanWeights:
    """Return the parameters of a state-space layer as integers.

    Raises
    ------
    ModelError
        If a parameter is too large, or a head's state would grow without input.
    """
    taps, step_bias, rate = head_parameters(tables, op)
    bias = np.zeros(op.shape.channels, np.int64) if op.bias is None else integer_bias(tables, op.bias, 16)
    return ScanWeights(taps, bias, step_bias, rate, integer_bias(tables, op.skip, 16))
