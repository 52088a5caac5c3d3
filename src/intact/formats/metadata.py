"""Many strings in little memory: vocabularies have hundreds of thousands, and each of Python's takes 50 bytes more."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import overload


class Strings(Sequence[str]):
    """Strings as UTF-8 in one buffer of less than 4 GiB; one is made when it is asked for."""

    def __init__(self, strings: Iterable[str] = ()) -> None:
        self._buffer, self._ends = bytearray(), array("I", [0])
        for text in strings:
            self.add(text.encode())

    def add(self, encoded: bytes) -> None:
        """Append a string that is known to be UTF-8."""
        self._buffer += encoded
        self._ends.append(len(self._buffer))

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
        buffer = bytes(self._buffer)  # whose parts are quicker to take
        return (buffer[begin:end].decode() for begin, end in pairwise(self._ends))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __repr__(self) -> str:
        return f"Strings({self.tolist()!r:.80})"

    def tolist(self) -> list[str]:
        """All of them, as NumPy's arrays say it."""
        return list(self)

    def _at(self, place: int) -> str:
        return self._buffer[self._ends[place] : self._ends[place + 1]].decode()
