"""Tasks whose items are made, from a seed: as many as one likes, the same everywhere."""

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
    """Choices that belong to a seed and a name; the same with every version of Python."""

    def __init__(self, seed: int, *name: str | int) -> None:
        self._seed, self._name, self._count = seed, name, 0

    def below(self, count: int) -> int:
        """Draw a whole number from 0 to count - 1; counts are small beside 2^64, so that all are as likely."""
        self._count += 1
        return branch_key(self._seed, (*self._name, self._count)) % count

    def between(self, low: int, high: int) -> int:
        """Draw a whole number from low to high, both included."""
        return low + self.below(high - low + 1)

    def choice(self, values: Sequence[T]) -> T:
        """Draw one of several."""
        return values[self.below(len(values))]

    def sample(self, values: Sequence[T], count: int) -> list[T]:
        """Several different ones, in an order of chance."""
        left = list(values)
        return [left.pop(self.below(len(left))) for _ in range(count)]


class Generated(Task):
    """A task of `size` items that a seed decides; another seed, others. The first items are the same at any size."""

    source = "made here"
    licence = "Apache-2.0"
    files: ClassVar[dict[str, str]] = {"made": ""}

    def __init__(self, *, seed: int = 0, size: int = 100) -> None:
        if size < 1:
            raise ParameterError(f"{self.name}: size must be at least 1, got {size}")
        self.seed, self.size = seed, size

    @abstractmethod
    def make(self, index: int) -> Item:
        """Make an item; its id says all that it depends on."""

    def source_of(self, split: str, folder: Path | None) -> tuple[str, Iterable[tuple[int, Row]]]:
        """Numbers."""
        return self.name, ((index, {}) for index in range(self.size))

    def parse(self, row: Row, index: int) -> Item:
        """Make it."""
        return self.make(index)
