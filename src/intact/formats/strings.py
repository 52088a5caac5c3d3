"""Many strings in little memory: vocabularies have hundreds of thousands, and each of Python's takes 50 bytes more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np


class Strings(Sequence[str]):
    """Strings that do not change, as UTF-8 in one buffer; one is made when it is asked for."""

    def __init__(self, strings: Iterable[str]) -> None:
        encoded = [text.encode() for text in strings]
        self._buffer = b"".join(encoded)
        self._ends = np.cumsum([0, *map(len, encoded)], dtype=np.uint32)

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        places = range(len(self))[index]
        return self._at(places) if isinstance(places, int) else [self._at(place) for place in places]

    def __iter__(self) -> Iterator[str]:
        ends = self._ends.tolist()
        return (self._buffer[ends[i] : ends[i + 1]].decode() for i in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __repr__(self) -> str:
        return f"Strings({self.tolist()!r:.80})"

    def tolist(self) -> list[str]:
        """All of them, as NumPy's arrays say it."""
        return list(self)

    def _at(self, place: int) -> str:
        return self._buffer[self._ends[place] : self._ends[place + 1]].decode()
