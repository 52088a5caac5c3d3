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
    """The gated recurrence of HGRN (arXiv 2311.04823); first appends a row to the cache.

    The source holds i, and `forget` holds the forget gate before its sigmoid, one number for each of `channels`. A
    channel's state follows ``h = f h + (1 - f) silu(i)`` with ``f = b + (1 - b) sigmoid(forget)``, and the target is h.
    `room` names a tensor with 1 - b of each channel, from 0 to 1; None: b is 0. `layer` numbers the recurrent layers of
    a program, as in `Scan`; its part of the cache holds the rows, and the states after each block of 64 positions.
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
        """Return the source and the forget gate."""
        return {self.source, self.forget}

    def writes(self) -> set[str]:
        """Return the target."""
        return {self.target}

    def check(self, tables: Tables, profile: ProfileParts) -> None:
        """Raise if a bound is outside 0 to 1."""
        room_values(tables, self)

    def cached_shapes(self, tables: Tables) -> list[tuple[int, ...]]:
        """Return the shapes of inputs and forget gates."""
        return [(self.channels,), (self.channels,)]

    def state_shapes(self) -> list[tuple[int, ...]]:
        """Return the shape of states."""
        return [(self.channels,)]

    def position_bytes(self, tables: Tables, page_size: int) -> int:
        """Count inputs, forget gates, and 64-bit states with their counts."""
        return 8 * self.channels + 16 + -(-16 * self.channels // page_size)

    def step(self, s: ReferenceStep) -> None:
        """Advance the states position by position."""

        def results(parts: Sequence[Rows], i: int, before: Sequence[Rows]) -> tuple[Sequence[Rows], Rows]:
            state = advance(cached_rows(parts), i, before[0])
            return (state,), recurrence_row(state)

        new = recurrence_rows(s.rows[self.source], s.rows[self.forget], s.memory.once(integer_room, self))
        s.set(self.target, by_positions(s, self, new, (zero_state(self.channels),), results), 16)

    def lower(self, low: Lowering) -> dict[str, Any]:
        """Return the buffers, the shape and the bounds; a state has 64 bits, two words."""
        room = low.numbers(integer_room(low.tables, self), room_values(low.tables, self))
        return {
            "source": low.buffer(self.source),
            "second": low.buffer(self.forget),
            "target": low.buffer(self.target),
            "layer": self.layer,
            "scan": NativeScan(self.channels, 1, 0, 2, 1, rate=room, selective=True),
        }

    def labels(self) -> dict[int, Label]:
        """Label the stored rows, and the number of channels."""
        return {ROWS: ("append", "inputs, forget gates"), PRODUCT: ("recurrence", f"{self.channels} channels")}

    def work(self, part: int, sizes: Sizes, counts: RowCounts) -> WorkSize:
        """Count the stored rows, or these and the results."""
        kept = 8 * self.channels
        if part == ROWS:
            return WorkSize(0, counts.rows * (sizes.row(self.source) + sizes.row(self.forget) + kept))
        return WorkSize(counts.rows * 2 * self.channels, counts.rows * (kept + sizes.row(self.target)))

    def cut(self, cutter: Cutter) -> None:
        """Raise: gated recurrences cannot be split."""
        self.refuse_cut()


def room_values(tables: Tables, op: GatedRecurrence) -> NDArray[np.float32]:
    """Return 1 minus the lower bound of each channel's forget gate, as float32.

    Raises
    ------
    ModelError
        If a value is outside 0 to 1.
    """
    if op.room is None:
        return np.ones(op.channels, np.float32)
    values = bias_values(tables, op.room)
    if not (values.min() >= 0 and values.max() <= 1):
        name, found = tables.tensors[op.room].name, f"{values.min():.6g} to {values.max():.6g}"
        raise ModelError(f"tensor {name}: 1 minus a forget gate's bound must lie in [0, 1], found {found}")
    return values


def integer_room(tables: Tables, op: GatedRecurrence) -> NDArray[np.int64]:
    """Return the values of `room_values` in Q30; raises the same errors."""
    return np.floor(room_values(tables, op).astype(np.float64) * ONE + 0.5).astype(np.int64)
