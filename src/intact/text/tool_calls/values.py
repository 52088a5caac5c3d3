"""Argument values that a model wrote as text between tags, converted according to the tool's schema."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from typing import Any, Final

from intact.text.tool_calls.base import read_json
from intact.text.tool_calls.pythonic import literal, parse_python

_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.0+)?")
_WORDS: Final = {"true": True, "True": True, "false": False, "False": False}


def convert(text: str, types: frozenset[str] | None, otherwise: Callable[[str], Any]) -> Any:
    """Return the value that a text represents; the text itself if it matches none of the types.

    If several types match, the first of null, integer, number, boolean, object or array, string wins.

    Parameters
    ----------
    types : frozenset of str or None
        Types that the schema allows; None if it does not restrict them.
    otherwise : callable
        Returns the value if the schema does not restrict the types.
    """
    if types is None:
        return otherwise(text)
    word = text.strip()
    if "null" in types and word in ("null", "None"):
        return None
    if types & {"integer", "number"} and (number := _number(word, "number" in types)) is not None:
        return number
    if "boolean" in types and word in _WORDS:
        return _WORDS[word]
    if types & {"object", "array"}:
        value = structure(word)
        if ("object" if isinstance(value, dict) else "array") in types and value is not None:
            return value
    return text


def _number(word: str, any_number: bool) -> int | float | None:
    """Parse a JSON number; return None for anything else. `1.0` is an integer."""
    if _INTEGER.fullmatch(word) and len(word) < 64 and not (any_number and "." in word):
        return int(word.partition(".")[0])
    try:
        value = read_json(word)
    except ValueError:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and (any_number or isinstance(value, int)) else None


def structure(text: str) -> Any:
    """Parse an object or list in JSON or Python notation; return None if it is neither."""
    if not text.startswith(("{", "[")):
        return None
    try:
        return read_json(text)
    except ValueError:
        pass
    try:
        (statement,) = parse_python(text).body
        value = literal(statement.value) if isinstance(statement, ast.Expr) else None
        json.dumps(value, allow_nan=False)
        return value
    except ValueError:
        return None


def or_null(text: str) -> Any:
    """Return the text, or None for the word null, like the parsers of Qwen3-Coder, Seed-OSS and MiniMax M2 in vLLM."""
    return None if text.strip().lower() == "null" else text


def or_json(text: str) -> Any:
    """Return the value of a non-string in JSON or Python notation, else the text, like GLM-4.5's parser in vLLM.

    A JSON string is left unchanged, including its quotes, since the template writes strings without quotes.
    """
    word = text.strip()
    if word in ("null", "None"):
        return None
    if word in _WORDS:
        return _WORDS[word]
    if (number := _number(word, True)) is not None:
        return number
    value = structure(word)
    return text if value is None else value
