"""The interface by which operations are cut for several processes (`intact.library.parallel.cut`)."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, TypeAlias

from intact.models.aspects.tables import Tables


class Part(NamedTuple):
    """The columns of a rank, from `start` to `stop` - 1."""

    start: int
    stop: int

    @property
    def width(self) -> int:
        """The number of columns."""
        return self.stop - self.start

    def times(self, size: int) -> Part:
        """Return the columns of heads of a size."""
        return Part(self.start * size, self.stop * size)


Parts: TypeAlias = tuple[Part, ...]
"""Of one buffer, by rank."""


class HeadParts(NamedTuple):
    """The heads of each rank; ranks that share a KV head each have a copy of it."""

    heads: Parts
    kv_heads: Parts


class Cutter(Protocol):
    """The program of one rank under construction.

    Attributes
    ----------
    rank : int
        Which of them this is.
    heads : HeadParts
        Of all attentions.
    split : mapping
        How buffers are cut that hold a rank's columns alone.
    """

    rank: int
    heads: HeadParts
    split: dict[str, Parts]

    @property
    def ranks(self) -> int:
        """Number of processes."""

    @property
    def tables(self) -> Tables:
        """Those of the whole program."""

    def append(self, op: Any) -> None:
        """Append an operation to the rank's program."""

    def whole(self, buffer: str) -> str:
        """Return a buffer with whole rows of one, after an exchange where there is none yet."""

    def written(self, buffer: str, parts: Parts | None = None) -> str:
        """Note that a buffer is set: to whole rows, or to this rank's columns; return its name."""

    def added(self, name: str, buffer: str, width: int) -> str:
        """Add a buffer like another, of a width; return its name."""

    def outputs(self, buffer: str) -> Parts:
        """Return how the outputs of a product are cut, by the buffer that they go to."""

    def attended(self, buffer: str) -> Parts:
        """Return how a buffer of an attention is cut."""

    def head(self, weight: str) -> Part:
        """Return this rank's outputs of the head's matrix."""

    def tensor(self, name: str, part: Part | None = None) -> str:
        """Add a tensor, or some of its outputs; return the name that the rank's program has for it."""
