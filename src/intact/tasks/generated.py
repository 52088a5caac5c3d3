"""Tasks whose items are generated from a seed, in any number, and identical on every machine."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar, TypeVar

from intact._base.errors import ParameterError
from intact.numerics.sampling import branch_key
from intact.tasks.data import Row
from intact.tasks.task import Item, Task

T = TypeVar("T")


class Draws:
    """Reproducible draws for a seed and a name, the same in every version of Python."""

    def __init__(self, seed: int, *name: str | int) -> None:
        self._seed, self._name, self._count = seed, name, 0

    def below(self, count: int) -> int:
        """Draw an integer from 0 to count - 1; count is small compared with 2^64, so all values are equally likely."""
        self._count += 1
        return branch_key(self._seed, (*self._name, self._count)) % count

    def between(self, low: int, high: int) -> int:
        """Draw an integer from low to high, inclusive."""
        return low + self.below(high - low + 1)

    def choice(self, values: Sequence[T]) -> T:
        """Draw one of the values."""
        return values[self.below(len(values))]

    def sample(self, values: Sequence[T], count: int) -> list[T]:
        """Draw distinct values in random order."""
        left = list(values)
        return [left.pop(self.below(len(left))) for _ in range(count)]


class Generated(Task):
    """A task of `size` items generated from a seed. The first items are the same for every size."""

    source = "made here"
    licence = "Apache-2.0"
    files: ClassVar[dict[str, str]] = {"made": ""}

    def __init__(self, *, seed: int = 0, size: int = 100) -> None:
        if size < 1:
            raise ParameterError(f"{self.name}: size must be at least 1, got {size}")
        self.seed, self.size = seed, size

    @abstractmethod
    def make(self, index: int) -> Item:
        """Make an item whose id contains everything that it depends on."""

    def source_of(self, split: str, folder: Path | None) -> tuple[str, Iterable[tuple[int, Row]]]:
        """Return the task's name and an empty row for each item."""
        return self.name, ((index, {}) for index in range(self.size))

    def parse(self, row: Row, index: int) -> Item:
        """Generate the item with this index."""
        return self.make(index)
