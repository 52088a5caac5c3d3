"""The trapezoidal scan of Mamba-3."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from intact._base.errors import ModelError
from intact.models.aspects.cutting import Cutter
from intact.models.aspects.lowering import Lowering
from intact.models.aspects.op import Recurrent
from intact.models.aspects.parameters import bias_values, integer_bias
from intact.models.aspects.recurrence import NativeScan, by_positions, check_states
from intact.models.aspects.step import ReferenceStep, Rows
from intact.models.aspects.tables import Tables
from intact.models.aspects.work import PRODUCT, ROWS, Label, RowCounts, Sizes, WorkSize
from intact.numerics.profiles import ProfileParts
from intact.numerics.trapezoidal import (
    PACE_FRACTION,
    TrapezoidalRows,
    TrapezoidalShape,
    TrapezoidalState,
    TrapezoidalWeights,
    advance,
    slowest_rate,
    trapezoidal_row,
    zero_state,
)


@dataclass(frozen=True)
class TrapezoidalScan(Recurrent):
    """The trapezoidal scan of Mamba-3 (state-spaces/mamba, `mamba3.py`, one input and output); first appends a row.

    The source holds x (`heads` times `width` channels); `input` and `output` hold B and C after their norms (`groups`
    times `states` columns each); `controls` holds dt, A and the share of each head, then `angles` numbers. dt passes
    through a softplus, and the share l through a sigmoid; A is ``-t``, where t is 1 + a for a >= 0, else 1 / (1 - a),
    and at least `slowest`. Keys k and queries q are B and C plus a bias per head, with the first `angles` pairs of
    adjacent columns rotated by the sum of ``pi tanh(angle) dt`` so far. A head's state follows ``S = exp(dt A) (S + (1
    - l) dt k' x') + l dt k x``, where a prime marks values of the previous position, and the target is ``S q + D x``.
    Tensors: `step_bias` added to dt, `input_bias` and `output_bias` to B and C (heads times states), and `skip` with D
    of each head. Heads share B and C in groups. `layer` numbers the recurrent layers of a program, as in `Scan`; its
    part of the cache holds the rows, and the states after each block of 64 positions.
    """

    source: str
    input: str
    output: str
    controls: str
    target: str
    step_bias: str
    input_bias: str
    output_bias: str
    skip: str
    slowest: float
    layer: int
    heads: int
    width: int
    groups: int
    states: int
    angles: int

    @property
    def shape(self) -> TrapezoidalShape:
        """Sizes in the form that the arithmetic uses."""
        return TrapezoidalShape(self.heads, self.width, self.groups, self.states, self.angles)

    noun = "state-space layers"
    native = "trapezoidal"

    def reads(self) -> set[str]:
        """Return source, input, output and controls."""
        return {self.source, self.input, self.output, self.controls}

    def writes(self) -> set[str]:
        """Return the target."""
        return {self.target}

    def check(self, tables: Tables, profile: ProfileParts) -> None:
        """Raise if a parameter is too large."""
        trapezoidal_weights(tables, self)

    def cached_shapes(self, tables: Tables) -> list[tuple[int, ...]]:
        """Return the shapes of x, B, C and controls."""
        shape = self.shape
        return [(width,) for width in (shape.inner, shape.columns, shape.columns, shape.controls)]

    def state_shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes of a state's parts."""
        return [part.shape for part in zero_state(self.shape)]

    def position_bytes(self, tables: Tables, page_size: int) -> int:
        """Count x, B, C, controls, and states."""
        shape = self.shape
        state = 4 * (shape.inner * (self.states + 1) + self.heads * (self.angles + 1))
        return 4 * (shape.inner + 2 * shape.columns + shape.controls) + -(-state // page_size)

    def step(self, s: ReferenceStep) -> None:
        """Advance the states position by position."""
        weights, shape = s.memory.once(trapezoidal_weights, self), self.shape

        def results(parts: Sequence[Rows], i: int, before: Sequence[Rows]) -> tuple[Sequence[Rows], Rows]:
            block = TrapezoidalRows(*parts)
            state = advance(block, i, TrapezoidalState(*before), weights, shape)
            return state, trapezoidal_row(block, i, state, weights, shape)

        new = [s.rows[name] for name in (self.source, self.input, self.output, self.controls)]
        s.set(self.target, by_positions(s, self, new, zero_state(shape), results), 16)

    def lower(self, low: Lowering) -> dict[str, Any]:
        """Return the buffers, the shape and the parameters."""
        w = trapezoidal_weights(low.tables, self)
        step_bias, skip, b, c = (
            low.numbers(values.reshape(-1), bias_values(low.tables, name))
            for name, values in (
                (self.step_bias, w.step_bias),
                (self.skip, w.skip),
                (self.input_bias, w.b_bias),
                (self.output_bias, w.c_bias),
            )
        )
        return {
            "source": low.buffer(self.source),
            "second": low.buffer(self.input),
            "third": low.buffer(self.output),
            "fourth": low.buffer(self.controls),
            "target": low.buffer(self.target),
            "layer": self.layer,
            "scan": NativeScan(
                *self.shape[:4],
                taps=1,
                step_bias=step_bias,
                skip=skip,
                angles=self.angles,
                input_bias=b,
                output_bias=c,
                slowest=w.slowest,
            ),
        }

    def labels(self) -> dict[int, Label]:
        """Label the stored rows, and the number of heads."""
        return {ROWS: ("append", "x, B, C, controls"), PRODUCT: ("scan", f"{self.heads} heads")}

    def work(self, part: int, sizes: Sizes, counts: RowCounts) -> WorkSize:
        """Count the rows read and stored, or the minimum work per row: decay, addition and read."""
        if part == ROWS:
            read = sum(sizes.row(name) for name in (self.source, self.input, self.output, self.controls))
            return WorkSize(0, 2 * counts.rows * read)
        kept = 4 * (self.shape.inner + 2 * self.shape.columns + self.shape.controls)
        macs = counts.rows * 4 * self.shape.inner * self.states  # including the previous position's contribution
        return WorkSize(macs, counts.rows * (kept + sizes.row(self.target)))

    def cut(self, cutter: Cutter) -> None:
        """Raise: trapezoidal scans cannot be split."""
        self.refuse_cut()


def trapezoidal_weights(tables: Tables, op: TrapezoidalScan) -> TrapezoidalWeights:
    """Return the parameters of a trapezoidal scan as integers.

    Raises
    ------
    ModelError
        If there are too many states, or `slowest` is not between 0 and 1.
    """
    check_states(tables, op.states, op.skip)
    if not 0 < op.slowest <= 1:
        raise ModelError(f"the slowest decay of a trapezoidal scan must lie in (0, 1], found {op.slowest}")
    step_bias, skip = integer_bias(tables, op.step_bias, PACE_FRACTION), integer_bias(tables, op.skip, 16)
    b, c = (integer_bias(tables, name, 16).reshape(op.heads, op.states) for name in (op.input_bias, op.output_bias))
    return TrapezoidalWeights(step_bias, b, c, skip, slowest_rate(op.slowest))
