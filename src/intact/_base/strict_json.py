"""Strict parsing of JSON from untrusted sources: `parse` for the text, `Fields` for the members of an object.

Errors give the location, the value found there, and what would be right.
"""

from __future__ import annotations

import json
import math
import re
import reprlib
import sys
from collections.abc import Callable, Collection, Mapping
from itertools import pairwise
from typing import Any, Final, NoReturn, TypeGuard, TypeVar

from intact._base.errors import IntactError, NewerReceiptError, ReceiptError

T = TypeVar("T")
quote: Final = reprlib.repr
"""Quote a value for an error message, shortened if it is long."""
LARGEST: Final = (1 << 53) - 1
"""Largest integer that every JSON implementation represents exactly."""
MOST_DEPTH: Final = 128
"""Maximum nesting depth of lists and objects. Python's own limit depends on its version and on the caller."""
MOST_TOKEN: Final = (1 << 31) - 1
_HEXADECIMAL: Final = re.compile(r"[0-9a-f]*")


def parse(
    data: bytes | str,
    what: str,
    *,
    floats: bool = True,
    error: type[IntactError] = ReceiptError,
    constant: Callable[[str], Any] | None = None,
    depth: int = MOST_DEPTH,
) -> Any:
    """Parse JSON, rejecting what the standard leaves open: NaN, infinities, duplicate members, excessive depth.

    Limit the size of `data` first: memory and time grow with it.

    Parameters
    ----------
    data : bytes or str
        Bytes are UTF-8.
    what : str
        Name of the text in error messages, such as "the receipt".
    floats : bool
        If false, reject numbers that are not integers.
    error : type
        The error to raise.
    constant : callable, optional
        Returns the value for NaN and infinities, which Python writes although they are not JSON.
    depth : int
        Maximum nesting depth of lists and objects.

    Raises
    ------
    IntactError
        If the text is not valid; the error has the type `error`.
    """

    def refuse(number: str) -> NoReturn:
        raise error(f"{what} contains the number {number:.40}; expected {'finite numbers' if floats else 'integers'}")

    def finite(number: str) -> float:
        value = float(number)
        return refuse(number) if math.isinf(value) else value

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in pairs:
            if name in found:
                raise error(f"{what} has a duplicate member {quote(name)}")
            found[name] = value
        return found

    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
        number = finite if floats else refuse
        value = json.loads(text, parse_float=number, parse_constant=constant or refuse, object_pairs_hook=unique)
        if is_too_deep(value, text, depth):
            raise RecursionError
        return value
    except error:
        raise
    except UnicodeDecodeError as failure:
        raise error(f"{what} is not UTF-8: byte {failure.start} is 0x{failure.object[failure.start]:02X}") from None
    except RecursionError:
        raise error(f"{what} is nested too deeply") from None
    except ValueError as failure:
        raise error(f"{what} is not valid JSON: {failure!s:.200}") from None


def is_too_deep(value: Any, text: str | bytes, most: int = MOST_DEPTH) -> bool:
    """Return true if lists and objects are nested deeper than `most`; `text` is the JSON text of the value."""
    opening = text.count("[") + text.count("{") if isinstance(text, str) else text.count(b"[") + text.count(b"{")
    if opening <= most:
        return False
    level = [value]
    for _ in range(most + 1):
        level = [one for one in level if isinstance(one, list | dict)]
        if not level:
            return False
        level = [item for one in level for item in (one.values() if isinstance(one, dict) else one)]
    return True


def check_kind(value: Any, what: str, name: str, version: int, readers: Mapping[int, str] | None = None) -> None:
    """Validate the format and version that a document declares.

    Parameters
    ----------
    readers : mapping of int to str, optional
        Earlier versions of the format, each with the last version of this package that reads it.

    Raises
    ------
    ReceiptError
        If the document has a different format.
    NewerReceiptError
        If the document has a different version.
    """
    if not isinstance(value, dict) or value.get("format") != name:
        raise ReceiptError(f"not a {what}: its member 'format' must be {name!r}")
    given: Any = value.get("version")
    if not is_integer(given, 1, LARGEST):
        raise ReceiptError(f"version must be a positive integer, got {quote(given)}")
    if given != version:
        reader = (readers or {}).get(given)
        hint = "" if reader is None else f"; the last version of intact that reads it is {reader}"
        raise NewerReceiptError(f"the receipt has version {given}, but this program reads version {version}{hint}")


class Fields:
    """The members of a JSON object, read by type; unknown and missing members are rejected.

    Parameters
    ----------
    value : any
        The value that should be an object.
    where : str
        The object's location, such as `request.sampling`.
    names : collection of str
        Required members.
    optional : collection of str
        Optional members.

    Raises
    ------
    ReceiptError
        If the value is not an object, has an unknown member, or lacks a required one.
    """

    def __init__(self, value: Any, where: str, names: Collection[str], optional: Collection[str] = ()) -> None:
        self._where = where
        if not isinstance(value, dict):
            raise ReceiptError(f"{where} must be an object, got {quote(value)}")
        for name in value:
            if name not in names and name not in optional:
                raise ReceiptError(f"{where} has the unknown member {quote(name)}")
        for name in names:
            if name not in value:
                raise ReceiptError(f"{where} lacks the member {name!r}")
        self.values: Mapping[str, Any] = value

    def place(self, name: str) -> str:
        """Return the location of a member, for error messages."""
        return f"{self._where}.{name}"

    def fail(self, name: str, expected: str) -> NoReturn:
        """Raise `ReceiptError` for a member."""
        raise ReceiptError(f"{self.place(name)} must be {expected}, got {quote(self.values[name])}")

    def text(self, name: str) -> str:
        """Read a string."""
        value = self.values[name]
        if not isinstance(value, str):
            self.fail(name, "a string")
        return value

    def choice(self, name: str, choices: Collection[T]) -> T:
        """Read one of several allowed values, all of the same type."""
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
            self.fail(name, "a non-empty list of integers" if shortest else "a list of integers")
        if value and set(map(type, value)) == {int} and least <= min(value) and max(value) <= most:
            return tuple(value)
        for index, item in enumerate(value):
            if not is_integer(item, least, most):
                where = f"{self.place(name)}[{index}]"
                raise ReceiptError(f"{where} must be an integer from {least} to {most}, got {quote(item)}")
        return tuple(value)

    def ascending(self, name: str) -> tuple[int, ...]:
        """Read a list of tokens in ascending order."""
        value = self.integers(name)
        if any(a >= b for a, b in pairwise(value)):
            self.fail(name, "tokens in ascending order")
        return value

    def items(self, name: str, expected: str = "a list") -> list[Any]:
        """Read a list of any items."""
        value = self.values[name]
        if not isinstance(value, list):
            self.fail(name, expected)
        return value

    def each(self, name: str, read: Callable[[Any, str], T]) -> tuple[T, ...]:
        """Read a list, converting each item with a function of the item and its location."""
        return tuple([read(item, f"{name}[{index}]") for index, item in enumerate(self.items(name))])

    def digits(self, name: str, size: int) -> bytes:
        """Read bytes from lower-case hexadecimal digits."""
        value = self.values[name]
        if not isinstance(value, str) or len(value) != 2 * size or not _HEXADECIMAL.fullmatch(value):
            self.fail(name, f"{2 * size} lower-case hexadecimal digits")
        return bytes.fromhex(value)

    def digest(self, name: str) -> bytes:
        """Read a digest."""
        return self.digits(name, 32)

    def maybe(self, name: str, read: Callable[[str], T]) -> T | None:
        """Read a member that may be null."""
        return None if self.values[name] is None else read(name)


def is_integer(value: object, least: int, most: int) -> bool:
    """Return true if a value is an integer within bounds."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def is_double(value: object) -> TypeGuard[float]:
    """Return true if a value is a finite number within the range of a double."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
