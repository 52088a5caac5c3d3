"""A step of the reference executor, as operations see it: rows by buffer, chunks of texts, and the cache."""

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
    """Tokens of one sequence, and the sequence's pages in order. Row i is kept in slot `position` + i of the pages.

    Attributes
    ----------
    parents : int32, optional
        None for consecutive tokens. Else the rows are a tree of drafts, at most 64: parents[i] < i is the row that row
        i follows, -1 the text before the chunk. A row has the position that it would have if its ancestors alone stood
        before it, and sees these and the text before the chunk.
    adapter : int
        Whose changes the rows pass (`Adapt`), by number; -1: none.
    """

    position: int
    tokens: NDArray[np.int32]
    pages: NDArray[np.int32]
    parents: NDArray[np.int32] | None = None
    adapter: int = -1

    @property
    def end(self) -> int:
        """The number of tokens of the text up to the chunk's end."""
        return self.position + len(self.tokens)

    def positions(self) -> Rows:
        """Return the position of each row, before which only its ancestors count."""
        return np.array([self.position + len(self._ancestors(i)) - 1 for i in range(len(self.tokens))], np.int64)

    def seen(self, row: int) -> Rows:
        """Return the slots of the text before the chunk and of a row's ancestors and itself, in order of position."""
        return np.concatenate([np.arange(self.position), self.position + np.array(self._ancestors(row), np.int64)])

    def _ancestors(self, row: int) -> list[int]:
        """Return a row's ancestors in its chunk, itself included, in order."""
        if self.parents is None:
            return list(range(row + 1))
        line = [row]
        while (parent := int(self.parents[line[0]])) >= 0:
            line.insert(0, parent)
        return line


class Memory(Protocol):
    """The state of a reference executor between steps: weights, pages, parameters of operations."""

    saturated: int
    """Numbers of recurrent states that came to the limit."""

    def weight(self, name: str) -> BlockWeight:
        """Return a matrix."""

    def outliers(self, buffer: str) -> int:
        """Return the blocks of outliers at the end of the rows of a buffer (profile llm_int8)."""

    def once(self, make: Callable[..., T], op: Any, *options: Any) -> T:
        """Return ``make(tables, op, *options)``, computed once: the parameters of an operation as integers."""

    def cached(self, op: Any) -> list[Rows]:
        """Return the arrays that hold a row for each slot of an operation's part of the cache."""

    def states(self, op: Any) -> list[Rows]:
        """Return the arrays that hold its states behind blocks of positions."""

    def slots(self, pages: NDArray[np.int32]) -> Rows:
        """Return the indices of the slots of a sequence with these pages."""

    def state(self, pages: NDArray[np.int32], position: int) -> int:
        """Return the index of the state behind the block that ends at a position."""

    def exchange(self, op: Any, own: Rows | None, whole: Rows) -> None:
        """Run an exchange."""

    def record(self, index: int, entered: Quantized) -> None:
        """Keep what entered a product, by its number in the program, where that is wanted."""


class ChunkRows(NamedTuple):
    """One chunk of a step.

    Attributes
    ----------
    chunk : SequenceChunk
    rows : slice
        Its rows among those of the step.
    slots : int64
        Of its whole text.
    own : int64
        Of its rows.
    """

    chunk: SequenceChunk
    rows: slice
    slots: Rows
    own: Rows


@dataclass
class ReferenceStep:
    """Rows on their way through a program.

    Attributes
    ----------
    rows : dict
        The rows of each buffer that was written.
    fraction : dict
        Their fraction bits.
    angles : list
        Sines and cosines of each rotation.
    index : int
        The number of the operation at hand.
    head : Quantized or None
        What entered the head for the wanted rows.
    logits : int64, optional
        Their logits.
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
        """Set a buffer; its fraction is the usual one unless it is given."""
        self.rows[buffer] = rows
        self.fraction[buffer] = self.tables.buffers[buffer].fraction if fraction is None else fraction

    def copy(self, source: str, target: str, rows: Rows) -> None:
        """Set a buffer to rows with the fraction of another."""
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
        """Return the number of the adapter of each row, -1 for none."""
        return np.repeat([chunk.adapter for chunk in self.chunks], [len(chunk.tokens) for chunk in self.chunks])
