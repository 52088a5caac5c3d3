"""The interface through which operations are split between processes (`intact.library.parallel.cut`)."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, TypeAlias

from intact.models.aspects.tables import Tables


class Part(NamedTuple):
    """A rank's columns, from `start` to `stop` - 1."""

    start: int
    stop: int

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.stop - self.start

    def times(self, size: int) -> Part:
        """Return the columns of these heads, given the width of a head."""
        return Part(self.start * size, self.stop * size)


Parts: TypeAlias = tuple[Part, ...]
"""The columns of a buffer that each rank holds."""


class HeadParts(NamedTuple):
    """The heads of each rank; ranks that share a KV head each hold a copy of it."""

    heads: Parts
    kv_heads: Parts


class Cutter(Protocol):
    """The program of one rank under construction.

    Attributes
    ----------
    rank : int
        Number of this rank.
    heads : HeadParts
        Division of the heads in every attention layer.
    split : mapping
        Division of the buffers that hold only a rank's columns.
    """

    rank: int
    heads: HeadParts
    split: dict[str, Parts]

    @property
    def ranks(self) -> int:
        """Number of processes."""

    @property
    def tables(self) -> Tables:
        """Tables of the whole program."""

    def append(self, op: Any) -> None:
        """Append an operation to the rank's program."""

    def whole(self, buffer: str) -> str:
        """Return the name of a buffer that holds the given buffer's whole rows, appending an exchange if needed."""

    def written(self, buffer: str, parts: Parts | None = None) -> str:
        """Record that a buffer is written, with whole rows or with this rank's columns; return its name."""

    def added(self, name: str, buffer: str, width: int) -> str:
        """Add a buffer like an existing one but with the given width; return its name."""

    def outputs(self, buffer: str) -> Parts:
        """Return the division of a product's outputs, given the buffer that they go to."""

    def attended(self, buffer: str) -> Parts:
        """Return the division of an attention buffer."""

    def head(self, weight: str) -> Part:
        """Return this rank's outputs of the head matrix."""

    def tensor(self, name: str, part: Part | None = None) -> str:
        """Add a tensor, or some of its outputs; return its name in the rank's program."""
