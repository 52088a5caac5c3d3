"""Values shared by several parts of a run's receipt: numbers, branches, objects of plain values."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Any, Final

from intact._base.errors import ReceiptError
from intact._base.strict_json import LARGEST, Fields, is_integer
from intact.reason.problem import Branch
from intact.receipts import canonical

DEEPEST: Final = 256
"""Maximum number of parts of a branch."""
MOST: Final = 1 << 16
"""Limit on a method's numbers and on the characters of a string: a verifier does the work that these request."""


def bits(value: float) -> str:
    """Return a number as the 16 hexadecimal digits of its binary64 bits, most significant first."""
    return struct.pack(">d", value).hex()


def read_number(value: Any, where: str) -> float:
    """Parse the result of `bits`."""
    number = struct.unpack(">d", Fields({"value": value}, where, ("value",)).digits("value", 8))[0]
    if not math.isfinite(number):
        raise ReceiptError(f"{where} must contain finite numbers, got {value}")
    return float(number)


def read_branch(fields: Fields, name: str) -> Branch:
    """Parse a branch: a place in the tree of texts."""
    value = fields.values[name]
    if (
        not isinstance(value, list)
        or not 0 < len(value) <= DEEPEST
        or not all(isinstance(part, str) or is_integer(part, 0, LARGEST) for part in value)
    ):
        fields.fail(name, f"a list of 1 to {DEEPEST} strings and integers")
    return tuple(value)


def write_values(values: Mapping[str, Any]) -> str:
    """Return an object as a JSON string, with numbers formatted by Python."""
    return json.dumps(dict(values), sort_keys=True, ensure_ascii=False, allow_nan=False)


def read_values(fields: Fields, name: str) -> dict[str, Any]:
    """Parse the result of `write_values`: an object of scalars and lists of strings."""
    text = fields.text(name)
    values = canonical.read(text.encode("utf-8", "surrogatepass"), fields.place(name), floats=True)
    if not isinstance(values, dict) or not all(map(_plain, values.values())) or write_values(values) != text:
        fields.fail(name, "the text of a JSON object of plain values, as written by json.dumps with sorted keys")
    return values


def unwritten(values: Mapping[str, Any]) -> str | None:
    """Return the name of the first value that `write_values` cannot represent; None if there is none."""
    return next((name for name, value in values.items() if not _plain(value)), None)


def unbounded(parameters: Mapping[str, Any]) -> str | None:
    """Return the name of the first parameter that a receipt cannot hold, for example because it is too large."""
    large = (name for name, value in parameters.items() if isinstance(value, int | float) and abs(value) > MOST)
    return unwritten(parameters) or next(large, None)


def _plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(item, str) and len(item) <= MOST for item in value)
    if isinstance(value, str):
        return len(value) <= MOST
    return value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
