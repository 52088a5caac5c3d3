"""Typed, validated access to the metadata of a model's files, and memory-efficient arrays of strings."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from os import PathLike
from typing import Any, NoReturn, TypeVar, overload

import numpy as np

from intact._base.errors import IntactError, ModelError

T = TypeVar("T")


class Strings(Sequence[str]):
    """Strings as UTF-8 in one buffer of less than 4 GiB; each is decoded on access.

    Vocabularies have hundreds of thousands of strings, each of which would take 50 more bytes as a separate object.
    """

    def __init__(self, strings: Iterable[str] = ()) -> None:
        self._buffer, self._ends = bytearray(), array("I", [0])
        for text in strings:
            self.add(text.encode())

    def add(self, encoded: bytes) -> None:
        """Append a string that is known to be valid UTF-8."""
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
        buffer = bytes(self._buffer)  # slices of bytes are faster
        return (buffer[begin:end].decode() for begin, end in pairwise(self._ends))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __repr__(self) -> str:
        return f"Strings({self.tolist()!r:.80})"

    def tolist(self) -> list[str]:
        """Return all strings as a list, like the NumPy method."""
        return list(self)

    def _at(self, place: int) -> str:
        return self._buffer[self._ends[place] : self._ends[place + 1]].decode()


class Metadata:
    """Typed access to metadata. Errors name the file and the key, the value found and the value expected.

    Parameters
    ----------
    values : mapping
        Keys and values as returned by the file's reader.
    source : path or str
        The file, for error messages.
    prefix : str
        Prefix of every key in the file, such as ``llama.``.
    inside : str
        Location of the values within the file, for error messages, such as ``rope scaling: ``.
    error : type
        Exception type to raise.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        source: str | PathLike[str],
        *,
        prefix: str = "",
        inside: str = "",
        error: type[IntactError] = ModelError,
    ) -> None:
        self.values, self.source, self.prefix, self.inside, self.error = values, source, prefix, inside, error

    def fail(self, key: str, problem: str) -> NoReturn:
        """Raise an error about a key."""
        raise self.error(f"{self.source}: {self.inside}{self.prefix}{key} {problem}")

    def refuse(self, key: str, expected: str, value: object) -> NoReturn:
        """Raise an error about a key whose value is not as expected."""
        self.fail(key, f"must be {expected}, found {value!r:.80}")

    def within(self, key: str, inside: str) -> Metadata:
        """Return the object under a key, empty if the key is missing; `inside` names it in error messages."""
        return Metadata(self.mapping(key), self.source, inside=inside, error=self.error)

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value unchanged; the default if it is missing or null."""
        value = self.values.get(self.prefix + key)
        return default if value is None else value

    def integer(self, key: str, default: int | None = None, least: int = 1, most: int = 1 << 24) -> int:
        """Read an integer from `least` to `most`."""
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.refuse(key, f"an integer from {least} to {most}", value)
        return value

    def number(self, key: str, default: float | None = None, least: float = 0.0, most: float = 1e12) -> float:
        """Read a positive number from `least` to `most`."""
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or value == 0 or not least <= value <= most:
            self.refuse(key, f"a positive number from {least:g} to {most:g}", value)
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """Read a boolean."""
        return self._of(bool, key, default, "true or false")

    def string(self, key: str, default: str) -> str:
        """Read a string."""
        return self._of(str, key, default, "a string")

    def choice(self, key: str, known: tuple[str, ...]) -> str | None:
        """Read one of several words; None if the key is missing."""
        value = self.get(key)
        if value is not None and not (isinstance(value, str) and value in known):
            self.refuse(key, f"{' or '.join(known)} (other values are not supported)", value)
        return value

    def mapping(self, key: str) -> Mapping[str, Any]:
        """Read an object; empty if the key is missing."""
        return self._of(dict, key, {}, "an object")

    def _of(self, kind: type[T], key: str, default: T, expected: str) -> T:
        value = self.get(key, default)
        if not isinstance(value, kind):
            self.refuse(key, expected, value)
        return value

    def array(self, key: str, length: int | None = None) -> Sequence[Any]:
        """Read an array in its reader's form, such as a NumPy array; check its length if one is given."""
        value = self.get(key)
        if value is None:
            self.fail(key, "is missing")
        if isinstance(value, str | bytes) or not hasattr(value, "__len__") or not hasattr(value, "__getitem__"):
            self.refuse(key, "an array", value)
        found: Sequence[Any] = value
        if length not in (None, len(found)):
            self.fail(key, f"has {len(found)} entries, expected {length}")
        return found

    def strings(self, key: str) -> list[str]:
        """Read an array of strings, all of which must be valid Unicode."""
        value = self.array(key)
        try:
            "".join(value).encode("utf-8")
        except (TypeError, UnicodeEncodeError):
            for index, item in enumerate(value):
                if not isinstance(item, str):
                    self.fail(key, f"must contain only strings, but entry {index} is of type {type(item).__name__}")
                if any("\ud800" <= character <= "\udfff" for character in item):
                    self.fail(key, f"must contain valid Unicode, but entry {index} is {item!r:.60}")
        return list(value)

    def numbers(self, key: str, length: int) -> list[Any]:
        """Read an array of `length` values."""
        value = self.array(key, length)
        return value.tolist() if isinstance(value, np.ndarray) else list(value)

    def refuse_features(self, features: Mapping[str, tuple[object, ...]]) -> None:
        """Refuse features that would be computed incorrectly: keys with a value other than the harmless ones."""
        for key, harmless in features.items():
            value = self.get(key)
            if value is not None and not (isinstance(value, bool | int | float) and value in harmless):
                self.fail(key, f"is {value!r:.80}, which is not supported")
