"""The gated recurrence of HGRN."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ModelError
from intact.models.aspects.cutting import Cutter
from intact.models.aspects.lowering import Lowering
from intact.models.aspects.op import Recurrent
from intact.models.aspects.parameters import bias_values
from intact.models.aspects.recurrence import NativeScan, by_positions
from intact.models.aspects.step import ReferenceStep, Rows
from intact.models.aspects.tables import Tables
from intact.models.aspects.work import PRODUCT, ROWS, Label, RowCounts, Sizes, WorkSize
from intact.numerics.functions import ONE
from intact.numerics.hgrn import advance, cached_rows, recurrence_row, recurrence_rows, zero_state
from intact.numerics.profiles import ProfileParts


@dataclass(frozen=True)
class GatedRecurrence(Recurrent):
    """The gated recurrence of HGRN (arXiv 2311.04823); appends a row to the cache first.

    The source holds i and `forget` the forget gate before its sigmoid, a number for each of `channels`. A channel's
    state follows ``h = f h + (1 - f) silu(i)`` with ``f = b + (1 - b) sigmoid(forget)``, and the target is h. `room`
    names a tensor with 1 - b of each channel, from 0 to 1; None: b is 0. `layer` counts the recurrent layers of a
    program, as that of a `Scan`; its part of the cache has the rows, and the states behind each block of 64 positions.
    """

    source: str
    forget: str
    target: str
    room: str | None
    layer: int
    channels: int

    noun = "gated recurrences"
    native = "recurrence"

    def reads(self) -> set[str]:
        """Return its rows and what leads them."""
        return {self.source, self.forget}

    def writes(self) -> set[str]:
        """Return the target."""
        return {self.target}

    def check(self, tables: Tables, profile: ProfileParts) -> None:
        """Raise if a bound is not from 0 to 1."""
        room_values(tables, self)

    def cached_shapes(self, tables: Tables) -> list[tuple[int, ...]]:
        """Return those of inputs and forget gates."""
        return [(self.channels,), (self.channels,)]

    def state_shapes(self) -> list[tuple[int, ...]]:
        """Return that of states."""
        return [(self.channels,)]

    def position_bytes(self, tables: Tables, page_size: int) -> int:
        """Count inputs, forget gates, and states of 64 bits with their counts."""
        return 8 * self.channels + 16 + -(-16 * self.channels // page_size)

    def step(self, s: ReferenceStep) -> None:
        """Lead states from position to position."""

        def results(parts: Sequence[Rows], i: int, before: Sequence[Rows]) -> tuple[Sequence[Rows], Rows]:
            state = advance(cached_rows(parts), i, before[0])
            return (state,), recurrence_row(state)

        new = recurrence_rows(s.rows[self.source], s.rows[self.forget], s.memory.once(integer_room, self))
        s.set(self.target, by_positions(s, self, new, (zero_state(self.channels),), results), 16)

    def lower(self, low: Lowering) -> dict[str, Any]:
        """Return buffers, shape and bounds; a state has 64 bits, two words."""
        room = low.numbers(integer_room(low.tables, self), room_values(low.tables, self))
        return {
            "source": low.buffer(self.source),
            "second": low.buffer(self.forget),
            "target": low.buffer(self.target),
            "layer": self.layer,
            "scan": NativeScan(self.channels, 1, 0, 2, 1, rate=room, selective=True),
        }

    def labels(self) -> dict[int, Label]:
        """Return the rows that are kept, and the number of channels."""
        return {ROWS: ("append", "inputs, forget gates"), PRODUCT: ("recurrence", f"{self.channels} channels")}

    def work(self, part: int, sizes: Sizes, counts: RowCounts) -> WorkSize:
        """Count rows that are kept, or those and the results."""
        kept = 8 * self.channels
        if part == ROWS:
            return WorkSize(0, counts.rows * (sizes.row(self.source) + sizes.row(self.forget) + kept))
        return WorkSize(counts.rows * 2 * self.channels, counts.rows * (kept + sizes.row(self.target)))

    def cut(self, cutter: Cutter) -> None:
        """Refuse."""
        self.refuse_cut()


def room_values(tables: Tables, op: GatedRecurrence) -> NDArray[np.float32]:
    """Return what the lower bound of each channel's forget gate leaves, as float32.

    Raises
    ------
    ModelError
        If one is not from 0 to 1.
    """
    if op.room is None:
        return np.ones(op.channels, np.float32)
    values = bias_values(tables, op.room)
    if not (values.min() >= 0 and values.max() <= 1):
        name, found = tables.tensors[op.room].name, f"{values.min():.6g} to {values.max():.6g}"
        raise ModelError(f"tensor {name}: what bounds of a forget gate leave lies in 0 to 1, found {found}")
    return values


def integer_room(tables: Tables, op: GatedRecurrence) -> NDArray[np.int64]:
    """Return the same in Q30; errors as of that."""
    return np.floor(room_values(tables, op).astype(np.float64) * ONE + 0.5).astype(np.int64)
