"""The selective scan of Mamba."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from intact.checkpoints.formats import Tensor
from intact.models.aspects.cutting import Cutter
from intact.models.aspects.lowering import Lowering
from intact.models.aspects.op import Recurrent
from intact.models.aspects.parameters import bias_values, float_values, integer_bias
from intact.models.aspects.recurrence import NativeScan, by_positions, check_states, integer_rates
from intact.models.aspects.step import ReferenceStep, Rows
from intact.models.aspects.tables import Tables
from intact.models.aspects.work import PRODUCT, ROWS, Label, RowCounts, Sizes, WorkSize
from intact.numerics.profiles import ProfileParts
from intact.numerics.scan import RecurrentState
from intact.numerics.selective import (
    SelectiveWeights,
    advance,
    cached_rows,
    selective_row,
    selective_rows,
    zero_state,
)


@dataclass(frozen=True)
class SelectiveScan(Recurrent):
    """The selective scan of Mamba (arXiv 2312.00752); first appends a row to the cache.

    The source holds x and `steps` holds dt, one number each per channel; `input` and `output` hold B and C, of `states`
    columns each. The states of channel c follow ``h[n] = exp(dt A[c, n]) h[n] + dt B[n] x``, with dt after softplus,
    and the target is the sum of ``C[n] h[n]`` plus ``D x``. Tensors: `decay` with A (negative; channels, states) and
    `skip` with D of each channel. `layer` numbers the recurrent layers of a program, as in `Scan`; its part of the
    cache holds the rows, and the states after each block of 64 positions.
    """

    source: str
    steps: str
    input: str
    output: str
    target: str
    decay: str
    skip: str
    layer: int
    channels: int
    states: int

    noun = "state-space layers"
    native = "selective"

    def reads(self) -> set[str]:
        """Return source, steps, input and output."""
        return {self.source, self.steps, self.input, self.output}

    def writes(self) -> set[str]:
        """Return the target."""
        return {self.target}

    def check(self, tables: Tables, profile: ProfileParts) -> None:
        """Raise if a parameter is too large."""
        selective_weights(tables, self)

    def cached_shapes(self, tables: Tables) -> list[tuple[int, ...]]:
        """Return the shapes of x, B and C, each with its exponent, and of steps."""
        return [(self.channels,), (self.states,), (), (self.states,), (), (self.channels,)]

    def state_shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes of states and their exponents."""
        return [(self.channels, self.states), (self.channels,)]

    def position_bytes(self, tables: Tables, page_size: int) -> int:
        """Count x, B, C, steps, exponents, and states."""
        state = 4 * self.channels * (self.states + 2)
        return 4 * self.states + 8 * self.channels + 16 + -(-state // page_size)

    def step(self, s: ReferenceStep) -> None:
        """Advance the states position by position."""
        weights = s.memory.once(selective_weights, self)
        new = selective_rows(*(s.rows[name] for name in (self.source, self.input, self.output, self.steps)))

        def results(parts: Sequence[Rows], i: int, before: Sequence[Rows]) -> tuple[Sequence[Rows], Rows]:
            block = cached_rows(parts)
            state = advance(block, i, RecurrentState(*before), weights)
            return state, selective_row(block, i, state, weights)

        rows = (new.x, *new.b, *new.c, new.step)
        s.set(self.target, by_positions(s, self, rows, zero_state(weights), results), 16)

    def lower(self, low: Lowering) -> dict[str, Any]:
        """Return the buffers, the shape and the parameters."""
        w = selective_weights(low.tables, self)
        rate = low.numbers(w.rate.reshape(-1), np.zeros(0, np.float32))
        skip = low.numbers(w.skip, bias_values(low.tables, self.skip))
        return {
            "source": low.buffer(self.source),
            "second": low.buffer(self.steps),
            "third": low.buffer(self.input),
            "fourth": low.buffer(self.output),
            "target": low.buffer(self.target),
            "layer": self.layer,
            "scan": NativeScan(self.channels, 1, 1, self.states, 1, rate=rate, skip=skip, selective=True),
        }

    def labels(self) -> dict[int, Label]:
        """Label the stored rows, and the number of channels."""
        return {ROWS: ("append", "x, B, C"), PRODUCT: ("scan", f"{self.channels} channels")}

    def work(self, part: int, sizes: Sizes, counts: RowCounts) -> WorkSize:
        """Count the stored rows, or the minimum work per row: decay, addition and read."""
        kept = 2 * sizes.kept * self.states + 8 * self.channels
        if part == ROWS:
            read = sum(sizes.row(name) for name in (self.source, self.steps, self.input, self.output))
            return WorkSize(0, counts.rows * (read + kept))
        macs = counts.rows * 3 * self.channels * self.states
        return WorkSize(macs, counts.rows * (kept + sizes.row(self.target)))

    def cut(self, cutter: Cutter) -> None:
        """Raise: selective scans cannot be split."""
        self.refuse_cut()


def selective_weights(tables: Tables, op: SelectiveScan) -> SelectiveWeights:
    """Return the parameters of a selective scan as integers.

    Raises
    ------
    ModelError
        If a parameter is too large, or a channel's state would grow without input.
    """
    check_states(tables, op.states, op.decay)
    tensor, count = tables.tensors[op.decay], op.channels * op.states
    decay = float_values(Tensor(tensor.name, tensor.kind, (count,), tensor.data), count, "decay")
    rate = integer_rates(tables, op.decay, decay).reshape(op.channels, op.states)
    return SelectiveWeights(rate, integer_bias(tables, op.skip, 16))
