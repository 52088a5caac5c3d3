"""The part that formats share whose calls are Python's: `f(a="x", b=3)`, one a line or in a list."""

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
"""Characters of a text that is read as Python; calls are far shorter."""
_ESCAPE: Final = re.compile(
    r"""(?P<raw>\b[rR](?:"[^"\n]*"|'[^'\n]*'))"""
    r"|\\(?:[\\'\"abfnrtv0-7\n]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U00(?:0[0-9a-fA-F]|10)[0-9a-fA-F]{4}|(?P<none>))"
)
"""A raw string, an escape of Python, or a backslash that begins none."""


class PythonCalls(ToolCallFormat):
    """Calls whose arguments have names and are literals; or JSON, which models write when they are asked to."""

    quotes = (JSON_STRING, Quotes("'", "'", escapes=True))

    def parse(self, text: str) -> list[ParsedCall]:
        """Read calls, and lists of calls; anything else, such as an argument that is no literal, makes it none."""
        if found := read_calls(text):
            return found
        try:
            return [_read(call) for call in _calls(parse_python(text))]
        except ValueError:
            return []

    def frame(self, name: str) -> tuple[str, str]:
        """Write a list of one call as JSON, as a schema can impose no Python."""
        return f'[{{"name": "{name}", "arguments": ', "}]"


def parse_python(text: str) -> ast.Module:
    """Parse Python that a model wrote; a backslash that begins no escape stands for itself.

    Raises
    ------
    ValueError
        If it is none, or too long.
    """
    if len(text) > _MOST:
        raise ValueError("too long")
    try:
        return ast.parse(_ESCAPE.sub(lambda found: found[0] if found["none"] is None else r"\\", text.strip()))
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError("no Python") from error


def _calls(module: ast.Module) -> Iterator[ast.expr]:
    for statement in module.body:
        if not isinstance(statement, ast.Expr):
            raise ValueError("a statement")
        yield from statement.value.elts if isinstance(statement.value, ast.List) else (statement.value,)


def _read(call: ast.expr) -> ParsedCall:
    """Return a call of Python as one of a tool.

    Raises
    ------
    ValueError
        If it is something else, or an argument has no name or no value of JSON.
    """
    if not isinstance(call, ast.Call) or call.args:
        raise ValueError("not a call with named arguments")
    arguments: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg is None or keyword.arg in arguments:
            raise ValueError("an argument without a name, or given twice")
        arguments[keyword.arg] = literal(keyword.value)
    return ParsedCall(_name(call.func), json.dumps(arguments, ensure_ascii=False, allow_nan=False))


def _name(function: ast.expr) -> str:
    """Return a tool's name, which may have parts with dots between them."""
    if isinstance(function, ast.Name):
        return function.id
    if isinstance(function, ast.Attribute):
        return f"{_name(function.value)}.{function.attr}"
    raise ValueError("not the name of a tool")


_WORDS: Final = {"true": True, "false": False, "null": None}
"""JSON's words, which models write among Python's."""


def literal(value: ast.expr) -> Any:
    """Return the value of a literal of Python that JSON has too.

    Raises
    ------
    ValueError
        If it is something else.
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
    raise ValueError("an argument that is no literal")


def _key(key: ast.expr | None) -> str:
    if isinstance(key, ast.Constant) and isinstance(key.value, str):
        return replace_surrogates(key.value)
    raise ValueError("a key that is no string")
