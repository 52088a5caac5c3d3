"""Canonical JSON (RFC 8785) with size limits, and the hash functions used for its digests.

Documents contain only objects, lists, strings, integers, booleans and null, and the names of members are ASCII. For
these, the standard library writes exactly what RFC 8785 requires; the tests compare it with the `rfc8785` package.
"""

from __future__ import annotations

import hashlib
import json
import re
from bisect import bisect_left
from typing import Any, Final, Literal, Protocol

from intact._base import strict_json
from intact._base.errors import NotInstalledError, ParameterError, ReceiptError
from intact._base.packages import install

MOST_BYTES: Final = 8 << 20
MOST_BYTES_UNICODE: Final = 4 << 20
"""Size limit for text that is not pure ASCII, since each character may then take four bytes in memory."""
MOST_VALUES: Final = (1 << 18) + (1 << 12)
"""Limit on the number of commas and opening brackets outside strings, and thus on the number of values."""
HashName = Literal["sha256", "blake3"]
HASHES: Final[tuple[HashName, ...]] = ("sha256", "blake3")
SIZE: Final = 32
"""Number of bytes in a digest."""
_MARKS: Final = (b",", b"[", b"{")
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)


def encode(value: Any) -> bytes:
    """Write a value in canonical form.

    Raises
    ------
    ReceiptError
        If a string is not valid Unicode, or lists and objects are nested too deeply.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        if strict_json.is_too_deep(value, text):
            raise RecursionError
        return text.encode()
    except RecursionError:
        raise ReceiptError(
            f"nested too deeply; at most {strict_json.MOST_DEPTH} levels of lists and objects are allowed"
        ) from None
    except UnicodeEncodeError as error:
        character = ord(error.object[error.start])
        raise ReceiptError(
            f"a string contains the lone surrogate U+{character:04X}, which is not a character"
        ) from error


def read(data: bytes, what: str, floats: bool = False) -> Any:
    """Parse a value in any form; memory and time are bounded before parsing.

    Parameters
    ----------
    what : str
        Name of the value in error messages.
    floats : bool
        If true, numbers may have a fraction.

    Raises
    ------
    ReceiptError
        If the data is too large, or not JSON.
    """
    check_size(data, what)
    return strict_json.parse(data, what, floats=floats)


def require_canonical(value: Any, data: bytes, what: str) -> None:
    """Raise `ReceiptError` if data is not the canonical form of the value that was parsed from it."""
    canonical = encode(value)
    if canonical != data:
        at = bisect_left(range(len(data)), True, key=lambda i: canonical[: i + 1] != data[: i + 1])
        raise ReceiptError(f"{what} is not canonical JSON (RFC 8785): the first wrong byte is at {at}")


def check_size(data: bytes, what: str) -> None:
    """Raise `ReceiptError` if data is larger than a receipt may be."""
    most = MOST_BYTES if data.isascii() else MOST_BYTES_UNICODE
    if len(data) > most:
        raise ReceiptError(f"{what} has {len(data):,} bytes; expected at most {most:,}")
    if sum(map(data.count, _MARKS)) <= MOST_VALUES:  # includes those inside strings
        return
    # Each string adds two to this difference, or one if it ends with an escaped backslash.
    if data.count(b'"') - data.count(b'\\"') <= 2 * MOST_VALUES:
        bare = _STRING.sub(b"", data)
        if sum(map(bare.count, _MARKS)) <= MOST_VALUES:
            return
    raise ReceiptError(f"{what} has more than {MOST_VALUES:,} values")


class Hash(Protocol):
    """A hash computation in progress."""

    def update(self, data: Any, /) -> Any:
        """Add bytes."""

    def digest(self) -> bytes:
        """Return the digest of all bytes so far."""


def new_hash(name: HashName) -> Hash:
    """Start a digest.

    Raises
    ------
    ParameterError
        If the hash function does not exist, or the package that provides it is missing.
    """
    if name == "sha256":
        return hashlib.sha256()
    if name != "blake3":
        raise ParameterError(f"the hash must be one of {', '.join(HASHES)}, got {name!r:.40}")
    try:
        from blake3 import blake3
    except ImportError:
        raise NotInstalledError(f"BLAKE3 needs the package blake3: {install('blake3')}") from None
    made: Hash = blake3()
    return made


def digest(name: HashName, *parts: Any) -> bytes:
    """Return the digest of the concatenation of bytes or buffers."""
    made = new_hash(name)
    for part in parts:
        made.update(part)
    return made.digest()
