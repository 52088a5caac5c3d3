"""The interface of tool-call formats, and the JSON parsing that they share."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from math import isfinite
from typing import Any, ClassVar, Final, NamedTuple, NoReturn, Protocol

from intact._base.strict_json import is_too_deep
from intact.text.tool_calls.calls import ParsedCall
from intact.text.tool_calls.signatures import Signatures

SEPARATORS = re.compile(r"[ \t\r\n]*[,;]?[ \t\r\n]*")
"""Separator between two successive calls."""


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    """Parse a number with a fraction or an exponent."""
    if not isfinite(number := float(text)):
        raise ValueError(f"the number {text:.40} is too large")
    return number


_DECODER = json.JSONDecoder(strict=False, parse_constant=_refuse_constant, parse_float=_finite)
_ESCAPE: Final = re.compile(
    r"""\\(?:["\\/bfnrt]|u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"""
    r"|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|u[0-9a-fA-F]{4}|(?P<none>))"
)
"""A JSON escape; also an unpaired surrogate, and a backslash that does not begin an escape."""
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class Region(NamedTuple):
    """Part of a text that consists of calls or may turn into calls.

    Attributes
    ----------
    end : int or None
        None while more text is needed to decide.
    """

    start: int
    end: int | None
    calls: list[ParsedCall]


class Quotes(NamedTuple):
    """The marks around a string, within which the closing mark of a call is ignored.

    Attributes
    ----------
    escapes : bool
        If true, the closing mark is one character, and a backslash escapes the next character.
    follows : tuple of str
        If given, the closing mark counts only if it is followed, after white space, by one of these: nothing is escaped
        in such a string, so it may contain its closing mark.
    """

    opens: str
    closes: str
    escapes: bool = False
    follows: tuple[str, ...] = ()


JSON_STRING: Final = Quotes('"', '"', escapes=True)


class CallFinder(Protocol):
    """Finds the calls in one text that arrives in chunks.

    Attributes
    ----------
    literals : tuple of str
        Literals; a prefix of one at the end of the text so far must not be released as content.
    """

    literals: tuple[str, ...]

    def find(self, text: str, offset: int, ended: bool) -> Region | None:
        """Return the first region, or None.

        Parameters
        ----------
        text : str
            The text, starting at a position that never decreases.
        offset : int
            That position.
        ended : bool
            If true, the text is complete.
        """


class ToolCallFormat(ABC):
    """The format in which a family of models writes calls: text between two marks by default.

    A subclass with a `name` is a format and is discovered automatically (`FORMATS`).
    """

    name: ClassVar[str]
    opens: ClassVar[str]
    """The mark before a call or a list of calls."""
    closes: ClassVar[str]
    """The mark after it; empty if a call ends with its JSON. Then the opening mark may be missing as well, since for
    such models' tokenizers it is a control token, which does not appear in text.
    """
    visible_marks: ClassVar[tuple[str, ...]] = ()
    """Markers that stay visible in the text even if they are control tokens."""
    begins: ClassVar[tuple[str, ...]] = ()
    """Literals, one of which must follow the opening mark and white space; if empty, anything may follow."""
    quotes: ClassVar[tuple[Quotes, ...]] = (JSON_STRING,)
    """Kinds of strings between the marks, within which the closing mark is part of the string."""

    marks: ClassVar[tuple[str, ...] | None] = None
    """Literals, one of which occurs in every chat template of this format; by default the opening mark."""
    requires: ClassVar[str] = ""
    """A literal that must also occur in such a template."""
    excludes: ClassVar[tuple[str, ...]] = ()
    """Literals that must not occur in such a template, since they belong to other formats."""

    def fits(self, template: str) -> bool:
        """Return true if a chat template presents tools to the model in this format."""
        marks = (self.opens,) if self.marks is None else self.marks
        return (
            "tools" in template
            and any(text in template for text in marks)
            and self.requires in template
            and not any(text in template for text in self.excludes)
        )

    @abstractmethod
    def parse(self, text: str) -> list[ParsedCall]:
        """Return the calls in the text between the marks; an empty list if the text is anything else."""

    def read(self, text: str, tools: Signatures | None) -> list[ParsedCall]:
        """Like `parse`, but with known tools, whose schemas a format may use to convert values."""
        return self.parse(text)

    def finder(self) -> CallFinder | None:
        """Return a custom finder for this format's calls, which disables plain JSON calls; None to use the marks."""
        return None

    @abstractmethod
    def frame(self, name: str) -> tuple[str, str]:
        """Return the text between the opening mark and a tool's arguments, and between them and the closing mark.

        If calls are constrained, the model writes exactly this text around arguments that fit the tool's JSON schema.
        """


def read_json(text: str) -> Any:
    r"""Parse JSON written by a model, allowing line breaks in strings, since models write code that way.

    A backslash that does not begin an escape is literal, as in `"C:\users"`, and an unpaired surrogate, which is not a
    character, is read as U+FFFD.

    Raises
    ------
    ValueError
        If it is not JSON, contains a number that is not finite, which JSON cannot represent, or is nested too deeply
        (`intact._base.strict_json.MOST_DEPTH`).
    """
    text = mend_escapes(text)
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if is_too_deep(value, text):
        raise ValueError("nested too deeply")
    return value


def mend_escapes(text: str) -> str:
    """Return JSON text in which each backslash begins an escape, and each escape represents a character."""

    def mended(found: re.Match[str]) -> str:
        return r"\ufffd" if found["lone"] else found[0] if found["none"] is None else r"\\"

    return replace_surrogates(_ESCAPE.sub(mended, text))


def replace_surrogates(text: str) -> str:
    """Replace each surrogate, which is not a character, by U+FFFD."""
    return _SURROGATE.sub("\ufffd", text)


def read_calls(text: str) -> list[ParsedCall]:
    """Parse text that consists of JSON calls: objects or lists of objects, one after another.

    The name is in `name`, or in `function`, which may also hold the whole call; the arguments are in `arguments` or
    `parameters`: an object, an object as a string, or missing. If the text contains anything else, the list is empty.
    """
    try:
        values = _values(text)
    except ValueError:
        return []
    found = []
    for value in values:
        for one in value if isinstance(value, list) else [value]:
            if (call := _call(one)) is None:
                return []
            found.append(call)
    return found


def _values(text: str) -> list[Any]:
    text = mend_escapes(text)
    try:
        return [read_json(text)]
    except ValueError:
        pass
    values, at = list[Any](), SEPARATORS.match(text).end()  # type: ignore[union-attr]
    while at < len(text):
        try:
            value, end = _DECODER.raw_decode(text, at)
        except RecursionError:
            raise ValueError("nested too deeply") from None
        if is_too_deep(value, text[at:end]):
            raise ValueError("nested too deeply")
        values.append(value)
        at = SEPARATORS.match(text, end).end()  # type: ignore[union-attr]
    return values


def _call(value: Any) -> ParsedCall | None:
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = value["function"]
    if not isinstance(value, dict):
        return None
    name = value.get("name", value.get("function"))
    arguments = read_arguments(value.get("arguments", value.get("parameters")))
    return ParsedCall(name, arguments) if isinstance(name, str) and arguments is not None else None


def read_arguments(given: Any) -> str | None:
    """Return arguments as JSON: an object, an object as a string, or nothing; None for anything else."""
    if isinstance(given, str):
        given = mend_escapes(given or "{}")
    try:
        value = read_json(given) if isinstance(given, str) else {} if given is None else given
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    if isinstance(given, str) and _is_strict(given):
        return given
    return json.dumps(value, ensure_ascii=False)


def _is_strict(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
