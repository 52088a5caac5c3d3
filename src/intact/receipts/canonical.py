"""JSON in one form only (RFC 8785), read from strangers within bounds; what would be written otherwise is refused.

Documents hold objects, lists, strings, integers, booleans and null, and the names of members are ASCII. Of these the
standard library writes what RFC 8785 asks for, which the tests hold against the `rfc8785` package.
"""

from __future__ import annotations

import json
import re
import reprlib
from bisect import bisect_left
from collections import Counter
from typing import Any, Final, NoReturn

from intact.errors import ReceiptError

MOST_BYTES: Final = 8 << 20
MOST_BYTES_UNICODE: Final = 4 << 20
"""Where a character is not ASCII, since each may then take four bytes."""
MOST_VALUES: Final = (1 << 18) + (1 << 12)
"""Commas and opening brackets outside strings: so many values at most."""
LARGEST: Final = (1 << 53) - 1
"""Beyond it JSON's numbers are not exact everywhere."""
_MARKS: Final = (b",", b"[", b"{")
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)


def encode(value: Any) -> bytes:
    """Write a value.

    Raises
    ------
    ReceiptError
        If a text is not Unicode.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError as error:
        character = ord(error.object[error.start])
        raise ReceiptError(f"a text holds the lone surrogate U+{character:04X}, which is no character") from error


def read(data: bytes, what: str, floats: bool = False) -> Any:
    """Read a value in whatever form; memory and time are bounded before anything is made of it.

    Parameters
    ----------
    what : str
        What it is, for messages.
    floats : bool
        Whether numbers may be other than integers.

    Raises
    ------
    ReceiptError
        If it is too large, or no JSON.
    """
    check_size(data, what)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ReceiptError(f"{what} is not UTF-8: byte {error.start} is 0x{data[error.start]:02X}") from None

    def refuse(number: str) -> NoReturn:
        raise ReceiptError(f"{what} holds the number {number:.40}; expected integers")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
            raise ReceiptError(f"{what} has the member {reprlib.repr(twice)} twice")
        return found

    try:
        return json.loads(text, parse_float=None if floats else refuse, parse_constant=refuse, object_pairs_hook=unique)
    except ReceiptError:
        raise
    except RecursionError:
        raise ReceiptError(f"{what} is nested too deep") from None
    except ValueError as error:
        raise ReceiptError(f"{what} is no JSON: {error!s:.200}") from None


def insist(value: Any, data: bytes, what: str) -> None:
    """Refuse data that is not the canonical form of the value that was read from it."""
    try:
        again = encode(value)
    except RecursionError:
        raise ReceiptError(f"{what} is nested too deep") from None
    if again != data:
        at = bisect_left(range(len(data)), True, key=lambda i: again[: i + 1] != data[: i + 1])
        raise ReceiptError(f"{what} is not canonical JSON (RFC 8785): byte {at} is the first that should be different")


def check_size(data: bytes, what: str) -> None:
    """Refuse what is larger than a receipt may be."""
    most = MOST_BYTES if data.isascii() else MOST_BYTES_UNICODE
    if len(data) > most:
        raise ReceiptError(f"{what} has {len(data):,} bytes; expected at most {most:,}")
    if sum(map(data.count, _MARKS)) <= MOST_VALUES:  # with those inside strings
        return
    # Each string but one that ends in an escaped backslash adds two to this difference, and that one adds one.
    if data.count(b'"') - data.count(b'\\"') <= 2 * MOST_VALUES:
        bare = _STRING.sub(b"", data)
        if sum(map(bare.count, _MARKS)) <= MOST_VALUES:
            return
    raise ReceiptError(f"{what} has more than {MOST_VALUES:,} values")
