"""Common part of the formats with Python calls: `f(a="x", b=3)`, one per line or in a list."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from typing import Any, Final

from intact.text.tool_calls.base import (
    JSON_STRING,
    Quotes,
    ToolCallFormat,
    read_calls,
    replace_surrogates,
)
from intact.text.tool_calls.calls import ParsedCall

_MOST: Final = 1 << 16
"""Maximum length, in characters, of text that is parsed as Python; calls are far shorter."""
_ESCAPE: Final = re.compile(
    r"""(?P<raw>\b[rR](?:"[^"\n]*"|'[^'\n]*'))"""
    r"|\\(?:[\\'\"abfnrtv0-7\n]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U00(?:0[0-9a-fA-F]|10)[0-9a-fA-F]{4}|(?P<none>))"
)
"""A raw string, a Python escape, or a backslash that does not begin one."""


class PythonCalls(ToolCallFormat):
    """Calls with named literal arguments; also JSON, which models write on request."""

    quotes = (JSON_STRING, Quotes("'", "'", escapes=True))

    def parse(self, text: str) -> list[ParsedCall]:
        """Parse calls and lists of calls; anything else, such as a non-literal argument, makes the result empty."""
        if found := read_calls(text):
            return found
        try:
            return [_read(call) for call in _calls(parse_python(text))]
        except ValueError:
            return []

    def frame(self, name: str) -> tuple[str, str]:
        """Return the frame of a list with one call as JSON, since a schema cannot constrain Python."""
        return f'[{{"name": "{name}", "arguments": ', "}]"


def parse_python(text: str) -> ast.Module:
    """Parse Python code written by a model; a backslash that does not begin an escape is literal.

    Raises
    ------
    ValueError
        If it is not Python, or too long.
    """
    if len(text) > _MOST:
        raise ValueError("the text is too long")
    try:
        return ast.parse(_ESCAPE.sub(lambda found: found[0] if found["none"] is None else r"\\", text.strip()))
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError("the text is not valid Python") from error


def _calls(module: ast.Module) -> Iterator[ast.expr]:
    for statement in module.body:
        if not isinstance(statement, ast.Expr):
            raise ValueError("the text has a statement that is not a call")
        yield from statement.value.elts if isinstance(statement.value, ast.List) else (statement.value,)


def _read(call: ast.expr) -> ParsedCall:
    """Convert a Python call to a tool call.

    Raises
    ------
    ValueError
        If it is not such a call, or an argument has no name or no JSON value.
    """
    if not isinstance(call, ast.Call) or call.args:
        raise ValueError("expected a call with named arguments")
    arguments: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg is None or keyword.arg in arguments:
            raise ValueError("an argument has no name, or is given twice")
        arguments[keyword.arg] = literal(keyword.value)
    return ParsedCall(_name(call.func), json.dumps(arguments, ensure_ascii=False, allow_nan=False))


def _name(function: ast.expr) -> str:
    """Return a tool's name, which may have several parts separated by dots."""
    if isinstance(function, ast.Name):
        return function.id
    if isinstance(function, ast.Attribute):
        return f"{_name(function.value)}.{function.attr}"
    raise ValueError("expected the name of a tool")


_WORDS: Final = {"true": True, "false": False, "null": None}
"""JSON's constants, which models mix with Python's."""


def literal(value: ast.expr) -> Any:
    """Return the value of a Python literal that JSON can represent.

    Raises
    ------
    ValueError
        If it is not such a literal.
    """
    match value:
        case ast.Constant(value=str() as text):
            return replace_surrogates(text)
        case ast.Name(id=word) if word in _WORDS:
            return _WORDS[word]
        case ast.Constant(value=None | bool() | int() | float() as found):
            return found
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)) if not isinstance(
            number, bool
        ):
            return -number
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return [literal(element) for element in elements]
        case ast.Dict(keys=keys, values=values):
            return {_key(key): literal(one) for key, one in zip(keys, values, strict=True)}
    raise ValueError("arguments must be literals")


def _key(key: ast.expr | None) -> str:
    if isinstance(key, ast.Constant) and isinstance(key.value, str):
        return replace_surrogates(key.value)
    raise ValueError("the keys of a dictionary must be strings")
