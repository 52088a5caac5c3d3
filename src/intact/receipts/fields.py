"""Typed reading of the parts of a document: errors name the place, what stands there, and what would be right."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NoReturn, TypeVar

from intact.errors import NewerReceiptError, ReceiptError
from intact.receipts.canonical import LARGEST

T = TypeVar("T")
shown: Final = reprlib.repr
"""Quotes a value for a message without writing all of it."""
MOST_TOKEN: Final = (1 << 31) - 1
_HEXADECIMAL: Final = re.compile(r"[0-9a-f]*")


def check_kind(value: Any, what: str, name: str, version: int, readers: Mapping[int, str] | None = None) -> None:
    """Refuse a document that is not of a format by this name, or not of this version.

    Parameters
    ----------
    readers : mapping of int to str, optional
        Earlier versions of the format, each with the last version of this package that reads it.

    Raises
    ------
    ReceiptError
        If it is no `what`.
    NewerReceiptError
        If it is one of another version.
    """
    if not isinstance(value, dict) or value.get("format") != name:
        raise ReceiptError(f"no {what}: its member format must be {name!r}")
    given: Any = value.get("version")
    if not is_integer(given, 1, LARGEST):
        raise ReceiptError(f"version must be a positive integer, got {shown(given)}")
    if given != version:
        reader = (readers or {}).get(given)
        hint = "" if reader is None else f"; the last intact to read it is {reader}"
        raise NewerReceiptError(f"the receipt is of version {given}; this program reads version {version}{hint}")


class Fields:
    """The members of one object: exactly those that belong there.

    Parameters
    ----------
    value : any
        What the document has.
    where : str
        The object's place, such as `request.sampling`.
    names : collection of str
        The members that it must have.
    optional : collection of str
        Those that it may have.

    Raises
    ------
    ReceiptError
        If it is no object, has a member that is unknown, or lacks one.
    """

    def __init__(self, value: Any, where: str, names: Collection[str], optional: Collection[str] = ()) -> None:
        self._where = where
        if not isinstance(value, dict):
            raise ReceiptError(f"{where} must be an object, got {shown(value)}")
        for name in value:
            if name not in names and name not in optional:
                raise ReceiptError(f"{where} has the unknown member {shown(name)}")
        for name in names:
            if name not in value:
                raise ReceiptError(f"{where} lacks the member {name!r}")
        self.values: Mapping[str, Any] = value

    def place(self, name: str) -> str:
        """The place of a member."""
        return f"{self._where}.{name}"

    def fail(self, name: str, expected: str) -> NoReturn:
        """Refuse a member."""
        raise ReceiptError(f"{self.place(name)} must be {expected}, got {shown(self.values[name])}")

    def text(self, name: str) -> str:
        """Read a string."""
        value = self.values[name]
        if not isinstance(value, str):
            self.fail(name, "a string")
        return value

    def choice(self, name: str, choices: Collection[T]) -> T:
        """Read one of several values, of the same type."""
        value = self.values[name]
        found = [choice for choice in choices if value == choice and type(value) is type(choice)]
        if not found:
            self.fail(name, "one of " + ", ".join(map(str, choices)))
        return found[0]

    def flag(self, name: str) -> bool:
        """Read true or false."""
        return self.choice(name, (False, True))

    def integer(self, name: str, least: int = 0, most: int = LARGEST) -> int:
        """Read an integer."""
        value = self.values[name]
        if not is_integer(value, least, most):
            self.fail(name, f"an integer from {least} to {most}")
        return int(value)

    def integers(self, name: str, least: int = 0, most: int = MOST_TOKEN, shortest: int = 0) -> tuple[int, ...]:
        """Read a list of integers."""
        value = self.values[name]
        if not isinstance(value, list) or len(value) < shortest:
            self.fail(name, "a list of integers" + (" that is not empty" if shortest else ""))
        if value and set(map(type, value)) == {int} and least <= min(value) and max(value) <= most:
            return tuple(value)
        for index, item in enumerate(value):
            if not is_integer(item, least, most):
                where = f"{self.place(name)}[{index}]"
                raise ReceiptError(f"{where} must be an integer from {least} to {most}, got {shown(item)}")
        return tuple(value)

    def digits(self, name: str, size: int) -> bytes:
        """Read bytes from hexadecimal digits in lower case."""
        value = self.values[name]
        if not isinstance(value, str) or len(value) != 2 * size or not _HEXADECIMAL.fullmatch(value):
            self.fail(name, f"{2 * size} hexadecimal digits in lower case")
        return bytes.fromhex(value)

    def digest(self, name: str) -> bytes:
        """Read a digest."""
        return self.digits(name, 32)

    def maybe(self, name: str, read: Callable[[str], T]) -> T | None:
        """Read a member that may be null."""
        return None if self.values[name] is None else read(name)


def is_integer(value: object, least: int, most: int) -> bool:
    """Whether a value is an integer, and within bounds."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
