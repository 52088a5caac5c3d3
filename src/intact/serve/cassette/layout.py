"""JSON for people: a line for what fits in one, an indentation for the rest; the same text for the same value."""

from __future__ import annotations

import json
from typing import Any, Final

WIDTH: Final = 100


def layout(value: Any) -> str:
    """Return a value as JSON whose objects and lists are on one line if they fit, and lists of numbers always."""
    text = _layout(value, 0) + "\n"
    return text if text.isascii() or _is_encodable(text) else json.dumps(value, indent=1) + "\n"


def _layout(value: Any, indentation: int) -> str:
    short = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or len(short) + indentation <= WIDTH or _is_numeric(value):
        return short
    inner, outer = "\n" + " " * (indentation + 1), "\n" + " " * indentation
    if isinstance(value, dict):
        lines = [
            f"{json.dumps(name, ensure_ascii=False)}: {_layout(one, indentation + 1)}" for name, one in value.items()
        ]
        return "{" + inner + ("," + inner).join(lines) + outer + "}"
    return "[" + inner + ("," + inner).join(_layout(one, indentation + 1) for one in value) + outer + "]"


def _is_numeric(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, int | float) for one in value)


def _is_encodable(text: str) -> bool:
    """Return true if a text has no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
