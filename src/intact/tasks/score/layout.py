"""Format programs in one layout, so that votes treat programs as equal if only comments and white space differ.

A program is split into tokens by the rules below and then written out. It is never parsed, so the result is the same in
every version of Python. Tokens and their order are preserved, except that plain string literals get single quotes, so
the meaning of the program does not change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_KEYWORDS: Final = frozenset({
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del",
    "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal",
    "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
})  # fmt: skip
_VALUES: Final = frozenset({"False", "None", "True"})
_WORD: Final = re.compile(r"[A-Za-z_\u0080-\U0010ffff][0-9A-Za-z_\u0080-\U0010ffff]*")
_NUMBER: Final = re.compile(r"0[xX][0-9A-Za-z_]*|(?:[0-9]|\.[0-9])(?:[eE][+-](?=[0-9])|[0-9A-Za-z_.])*")
_OPERATOR: Final = re.compile(
    r"\*\*=|//=|>>=|<<=|\.\.\.|->|:=|[=!<>]=|\*\*|//|>>|<<|[-+*/%@&|^]=|[-+*/%@&|^~<>=.,:;()\[\]{}!]"
)
_PREFIXES: Final = frozenset({"r", "u", "b", "br", "rb", "f", "fr", "rf", "t", "tr", "rt"})
_PLAIN: Final = re.compile(r"""([A-Za-z]*)(["'])([^"'\\\n]*)\2""")
_BRACKETS: Final = {")": "(", "]": "[", "}": "{"}
_DEEPEST: Final = 16
"""The maximum nesting depth of fields in formatted strings; a fixed number, because the available stack varies."""
_SIGNS: Final = frozenset({"+", "-", "*", "**"})


class _LayoutError(Exception):
    """The text cannot be tokenized."""


class _Token(NamedTuple):
    kind: str
    text: str


def laid_out(code: str) -> str | None:
    """Return a program in the uniform layout, ending in a line feed; None if it cannot be tokenized.

    Comments, blank lines and line continuations are removed, each level of indentation becomes four spaces, and two
    tokens are separated by a space or nothing, depending only on the tokens. The result is None if a bracket or string
    is not closed, if indentation returns to no earlier level or mixes tabs and spaces, or if there are characters that
    Python does not allow outside strings.
    """
    try:
        lines = list(_logical_lines(code.replace("\r\n", "\n").replace("\r", "\n")))
    except _LayoutError:
        return None
    return "".join(f"{'    ' * level}{_join(tokens)}\n" for level, tokens in lines)


def _logical_lines(code: str) -> Iterator[tuple[int, list[_Token]]]:
    """Yield the indentation level and tokens of each logical line."""
    levels: list[tuple[int, int]] = [(0, 0)]
    place = 0
    while place < len(code):
        column, place = _indentation(code, place)
        tokens, place = _line(code, place)
        if not tokens:
            continue
        if column[0] > levels[-1][0] and column[1] > levels[-1][1]:
            levels.append(column)
        while column[0] < levels[-1][0]:
            levels.pop()
        if column != levels[-1]:
            raise _LayoutError
        yield len(levels) - 1, tokens


def _indentation(code: str, place: int) -> tuple[tuple[int, int], int]:
    """Return the column at which a line begins, with tabs of width eight and of width one, and its position."""
    wide = narrow = 0
    while place < len(code) and code[place] in " \t\f":
        if code[place] == "\f":
            wide = narrow = 0
        else:
            wide = wide + 1 if code[place] == " " else (wide // 8 + 1) * 8
            narrow += 1
        place += 1
    return (wide, narrow), place


def _line(code: str, place: int) -> tuple[list[_Token], int]:
    """Return the tokens up to the end of a logical line, and the position after it."""
    tokens: list[_Token] = []
    open_brackets: list[str] = []
    while place < len(code):
        letter = code[place]
        if letter == "\n" and not open_brackets:
            return tokens, place + 1
        if letter in " \t\f\n":
            place += 1
        elif letter == "#":
            end = code.find("\n", place)
            place = len(code) if end < 0 else end
        elif letter == "\\" and code[place + 1 : place + 2] == "\n":
            place += 2
        else:
            token = _token(code, place)
            if token.text in ("(", "[", "{"):
                open_brackets.append(token.text)
            elif token.text in _BRACKETS and (not open_brackets or open_brackets.pop() != _BRACKETS[token.text]):
                raise _LayoutError
            tokens.append(token)
            place += len(token.text)
    if open_brackets:
        raise _LayoutError
    return tokens, place


def _token(code: str, place: int, depth: int = 0) -> _Token:
    """Return the token at a position; `depth` is the number of enclosing fields of formatted strings."""
    word = _WORD.match(code, place)
    prefix = "" if word is None else word[0]
    after = place + len(prefix)
    if code[after : after + 1] in ("'", '"') and (not prefix or prefix.lower() in _PREFIXES):
        return _Token("string", code[place : _string_end(code, after, prefix.lower(), depth)])
    if word is not None:
        return _Token("keyword" if prefix in _KEYWORDS else "name", prefix)
    for kind, pattern in (("number", _NUMBER), ("operator", _OPERATOR)):
        found = pattern.match(code, place)
        if found is not None:
            return _Token(kind, found[0])
    raise _LayoutError


def _string_end(code: str, place: int, prefix: str, depth: int) -> int:
    """Return the position after a string literal whose opening quote is at `place`."""
    quote = code[place] * 3 if code.startswith(code[place] * 3, place) else code[place]
    place += len(quote)
    formatted = "f" in prefix or "t" in prefix
    while place < len(code):
        if code.startswith(quote, place):
            return place + len(quote)
        if code[place] == "\\":
            place += 1 if formatted and code.startswith("{", place + 1) else 2
        elif code[place] == "\n" and len(quote) == 1:
            break
        elif formatted and code[place] == "{":
            place = place + 2 if code.startswith("{{", place) else _field_end(code, place + 1, quote, depth)
        else:
            place += 1
    raise _LayoutError


def _field_end(code: str, place: int, quote: str, depth: int) -> int:
    """Return the position after the field ``{...}`` of a formatted string; strings inside may use the same quotes."""
    if depth == _DEEPEST:
        raise _LayoutError
    brackets = 0
    while place < len(code):
        letter = code[place]
        if letter == "}" and not brackets:
            return place + 1
        if letter == "\n" and len(quote) == 1:
            break
        if letter == "#" or (letter == "\\" and code[place + 1 : place + 2] != "\n"):
            break
        if letter == ":" and not brackets:
            return _format_end(code, place + 1, quote, depth)
        if letter in "'\"" or _WORD.match(code, place):
            place += len(_token(code, place, depth + 1).text)
            continue
        brackets += (letter in "([{") - (letter in ")]}")
        place += 1
    raise _LayoutError


def _format_end(code: str, place: int, quote: str, depth: int) -> int:
    """Return the position after the field whose format specification begins at `place`."""
    while place < len(code) and not code.startswith(quote, place) and code[place] != "\n":
        if code[place] == "}":
            return place + 1
        place = _field_end(code, place + 1, quote, depth + 1) if code[place] == "{" else place + 1
    raise _LayoutError


def _join(tokens: list[_Token]) -> str:
    """Return a logical line's tokens as one line of text, with a space wherever two tokens might otherwise merge."""
    written: list[str] = []
    brackets: list[str] = []
    before: _Token | None = None
    unary = False
    for token in tokens:
        if before is not None and not _touch(before, token, brackets[-1] if brackets else "", unary):
            written.append(" ")
        unary = token.text in _SIGNS and not _ends_value(before)
        if token.text in ("(", "[", "{"):
            brackets.append(token.text)
        elif token.text in _BRACKETS:
            brackets.pop()
        written.append(_single_quoted(token.text) if token.kind == "string" else token.text)
        before = token
    return "".join(written)


def _ends_value(token: _Token | None) -> bool:
    """Return true if a value may end with a token, so that a sign after it is a binary operator."""
    if token is None or token.kind == "keyword":
        return token is not None and token.text in _VALUES
    return token.kind != "operator" or token.text in _BRACKETS or token.text == "..."


def _touch(before: _Token, token: _Token, bracket: str, unary: bool) -> bool:
    """Return true if no space separates two tokens, given the innermost open bracket and whether `before` is unary."""
    value = before.kind in ("name", "string") or before.text in _BRACKETS
    if token.text in (")", "]", "}", ",", ";", ":"):
        return True
    if before.text in ("(", "[", "{", "~"):
        return True
    if token.text in ("(", "["):
        return value or unary
    if token.text == "{":
        return unary
    if token.text == ".":
        return value
    operand = token.kind != "operator"
    if before.text == ".":
        return token.kind == "name"
    if unary or (before.text == ":" and bracket == "["):
        return operand
    return False


def _single_quoted(literal: str) -> str:
    """Return a string literal in single quotes if it is on one line and contains no quotes or backslashes."""
    found = _PLAIN.fullmatch(literal)
    return literal if found is None else f"{found[1]}'{found[3]}'"
