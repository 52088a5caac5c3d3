"""A step of the reference executor as operations see it: rows by buffer, chunks of sequences, and the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from intact.models.aspects.tables import Tables
from intact.numerics.activations import Quantized, quantize
from intact.numerics.profiles import ProfileParts
from intact.numerics.weights import BlockWeight

Rows: TypeAlias = NDArray[np.int64]
LOGIT_FRACTION = 16
T = TypeVar("T")


class SequenceChunk(NamedTuple):
    """Tokens of one sequence, with the sequence's pages in order. Row i is stored in slot `position` + i of the pages.

    Attributes
    ----------
    parents : int32, optional
        None for consecutive tokens. Otherwise the rows form a tree of at most 64 drafts: row i follows row
        parents[i] < i, or the sequence before the chunk if parents[i] is -1. A row attends only to that sequence and to
        its own ancestors, and its position counts only these.
    adapter : int
        Number of the adapter applied to the rows (`Adapt`); -1 for none.
    """

    position: int
    tokens: NDArray[np.int32]
    pages: NDArray[np.int32]
    parents: NDArray[np.int32] | None = None
    adapter: int = -1

    @property
    def end(self) -> int:
        """Number of tokens of the sequence up to the end of the chunk."""
        return self.position + len(self.tokens)

    def positions(self) -> Rows:
        """Return the position of each row, counting only its ancestors."""
        return np.array([self.position + len(self._ancestors(i)) - 1 for i in range(len(self.tokens))], np.int64)

    def seen(self, row: int) -> Rows:
        """Return the slots that a row sees, by position: those before the chunk, its ancestors' and its own."""
        return np.concatenate([np.arange(self.position), self.position + np.array(self._ancestors(row), np.int64)])

    def _ancestors(self, row: int) -> list[int]:
        """Return a row's ancestors in its chunk, including itself, in order."""
        if self.parents is None:
            return list(range(row + 1))
        line = [row]
        while (parent := int(self.parents[line[0]])) >= 0:
            line.insert(0, parent)
        return line


class Memory(Protocol):
    """A reference executor's state between steps: weights, pages and parameters of operations."""

    saturated: int
    """Number of recurrent-state values that have reached the limit."""

    def weight(self, name: str) -> BlockWeight:
        """Return a matrix by name."""

    def outliers(self, buffer: str) -> int:
        """Return the number of outlier blocks at the end of a buffer's rows (profile llm_int8)."""

    def once(self, make: Callable[..., T], op: Any, *options: Any) -> T:
        """Return ``make(tables, op, *options)``, the integer parameters of an operation, computed only once."""

    def cached(self, op: Any) -> list[Rows]:
        """Return the arrays that hold one row per slot of an operation's part of the cache."""

    def states(self, op: Any) -> list[Rows]:
        """Return the arrays that hold an operation's states after blocks of positions."""

    def slots(self, pages: NDArray[np.int32]) -> Rows:
        """Return the slot indices of a sequence with these pages."""

    def state(self, pages: NDArray[np.int32], position: int) -> int:
        """Return the index of the state after the block that ends at a position."""

    def exchange(self, op: Any, own: Rows | None, whole: Rows) -> None:
        """Run an exchange."""

    def record(self, index: int, entered: Quantized) -> None:
        """Record the input of a product, by the product's number in the program, if recording is on."""


class ChunkRows(NamedTuple):
    """One chunk of a step.

    Attributes
    ----------
    chunk : SequenceChunk
    rows : slice
        The chunk's rows within the step.
    slots : int64
        Slots of its whole sequence.
    own : int64
        Slots of its rows.
    """

    chunk: SequenceChunk
    rows: slice
    slots: Rows
    own: Rows


@dataclass
class ReferenceStep:
    """The rows of a step as they pass through a program.

    Attributes
    ----------
    rows : dict
        Rows of each buffer that has been written.
    fraction : dict
        Fraction bits of each of these buffers.
    angles : list
        Sines and cosines for each rotation.
    index : int
        Number of the current operation.
    head : Quantized or None
        Input of the head for the wanted rows.
    logits : int64, optional
        Logits of the wanted rows.
    """

    tables: Tables
    profile: ProfileParts
    memory: Memory
    chunks: Sequence[SequenceChunk]
    wanted: NDArray[np.int64]
    tokens: NDArray[np.int32]
    positions: Rows
    angles: Sequence[tuple[Rows, Rows]]
    fraction: dict[str, int]
    rows: dict[str, Rows] = field(default_factory=dict)
    index: int = 0
    head: Quantized | None = None
    logits: Rows | None = None

    def set(self, buffer: str, rows: Rows, fraction: int | None = None) -> None:
        """Set a buffer; by default with the buffer's usual number of fraction bits."""
        self.rows[buffer] = rows
        self.fraction[buffer] = self.tables.buffers[buffer].fraction if fraction is None else fraction

    def copy(self, source: str, target: str, rows: Rows) -> None:
        """Set a buffer to rows with the fraction bits of another buffer."""
        self.set(target, rows, self.fraction[source])

    def quantized(self, buffer: str, rows: NDArray[np.int64] | slice = slice(None)) -> Quantized:
        """Return some rows of a buffer as codes of the profile's scheme."""
        return quantize(self.rows[buffer][rows], self.fraction[buffer], self.profile.scheme)

    def by_chunk(self) -> Iterator[ChunkRows]:
        """Yield the chunks with their rows and slots."""
        row = 0
        for chunk in self.chunks:
            slots = self.memory.slots(chunk.pages)
            yield ChunkRows(chunk, slice(row, row + len(chunk.tokens)), slots, slots[chunk.position : chunk.end])
            row += len(chunk.tokens)

    def adapters(self) -> Rows:
        """Return the adapter number of each row, -1 for none."""
        return np.repeat([chunk.adapter for chunk in self.chunks], [len(chunk.tokens) for chunk in self.chunks])
