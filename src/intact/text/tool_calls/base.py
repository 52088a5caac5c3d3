"""The interface of tool-call formats, and the JSON of calls that they share."""

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
"""Text between two calls that follow each other."""


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    """Return a number with a fraction or an exponent."""
    if not isfinite(number := float(text)):
        raise ValueError(f"the number {text:.40} is too large")
    return number


_DECODER = json.JSONDecoder(strict=False, parse_constant=_refuse_constant, parse_float=_finite)
_ESCAPE: Final = re.compile(
    r"""\\(?:["\\/bfnrt]|u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"""
    r"|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|u[0-9a-fA-F]{4}|(?P<none>))"
)
"""An escape of JSON; also half of a surrogate pair alone, and a backslash that begins no escape."""
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class Region(NamedTuple):
    """A part of a text that is calls, or may become so.

    Attributes
    ----------
    end : int or None
        None while more text decides.
    """

    start: int
    end: int | None
    calls: list[ParsedCall]


class Quotes(NamedTuple):
    """The marks around a string, in which the closing mark of a call ends nothing.

    Attributes
    ----------
    escapes : bool
        If true, the closing mark is one character, and a backslash takes the meaning from the next one.
    follows : tuple of str
        If there are some, the closing mark counts only where one of them follows behind white space: nothing is escaped
        in such a string, so that it may hold its closing mark.
    """

    opens: str
    closes: str
    escapes: bool = False
    follows: tuple[str, ...] = ()


JSON_STRING: Final = Quotes('"', '"', escapes=True)


class CallFinder(Protocol):
    """Finds the calls in one text that arrives in pieces.

    Attributes
    ----------
    literals : tuple of str
        Texts of which a part, at the end of the text so far, must not be taken for content.
    """

    literals: tuple[str, ...]

    def find(self, text: str, offset: int, ended: bool) -> Region | None:
        """Return the first region, or None.

        Parameters
        ----------
        text : str
            The text from a place on that never goes back.
        offset : int
            That place.
        ended : bool
            If true, nothing more will come.
        """


class ToolCallFormat(ABC):
    """The format in which a family of models writes calls: text between two marks.

    A subclass with a `name` is a format; it is found by its file (`FORMATS`).
    """

    name: ClassVar[str]
    opens: ClassVar[str]
    """The mark before a call, or before a list of calls."""
    closes: ClassVar[str]
    """The mark behind it; empty if a call ends with its JSON. Then the opening mark may be missing too: the tokenizers
    of such models have it as a control token, which is not seen in the text."""
    visible_marks: ClassVar[tuple[str, ...]] = ()
    """Marks that are seen in the text even where the tokenizer has them as control tokens."""
    begins: ClassVar[tuple[str, ...]] = ()
    """Texts of which one stands behind the opening mark and white space; none if anything may."""
    quotes: ClassVar[tuple[Quotes, ...]] = (JSON_STRING,)
    """The strings between the marks; the closing mark in one of them is a part of the string."""

    shown_by: ClassVar[tuple[str, ...] | None] = None
    """Texts, one of which a chat template of this format has; by default the opening mark."""
    requires: ClassVar[str] = ""
    """A text that such a template has as well."""
    excludes: ClassVar[tuple[str, ...]] = ()
    """Texts that such a template does not have, since other formats do."""

    def fits(self, template: str) -> bool:
        """Return whether the text of a chat template shows tools to the model in this format."""
        shown_by = (self.opens,) if self.shown_by is None else self.shown_by
        return (
            "tools" in template
            and any(text in template for text in shown_by)
            and self.requires in template
            and not any(text in template for text in self.excludes)
        )

    @abstractmethod
    def parse(self, text: str) -> list[ParsedCall]:
        """Return the calls in a text that stood between the marks; none if it is something else."""

    def read(self, text: str, tools: Signatures | None) -> list[ParsedCall]:
        """Return the same where the tools are known, by whose schemas a format may convert its values."""
        return self.parse(text)

    def finder(self) -> CallFinder | None:
        """Return what finds this format's calls in one text, and then no plain JSON counts; None: its marks do."""
        return None

    @abstractmethod
    def frame(self, name: str) -> tuple[str, str]:
        """Return the text between the opening mark and a tool's arguments, and that between these and the closing mark.

        Where calls are imposed, a model writes exactly this around arguments of the tool's JSON schema.
        """


def read_json(text: str) -> Any:
    r"""Read JSON that a model wrote; line breaks may stand in strings, as models write code so.

    A backslash that begins no escape stands for itself, as in `"C:\users"`, and half of a surrogate pair, which is no
    character, is read as U+FFFD.

    Raises
    ------
    ValueError
        If it is no JSON, has a number that is not finite, which no JSON could say again, or is nested deeper than is
        read anywhere (`intact._base.strict_json.MOST_DEPTH`).
    """
    text = mend_escapes(text)
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if is_too_deep(value, text):
        raise ValueError("nested too deep")
    return value


def mend_escapes(text: str) -> str:
    """Return a text of JSON in which each backslash begins an escape, and each escape stands for a character."""

    def mended(found: re.Match[str]) -> str:
        return r"\ufffd" if found["lone"] else found[0] if found["none"] is None else r"\\"

    return replace_surrogates(_ESCAPE.sub(mended, text))


def replace_surrogates(text: str) -> str:
    """Return a text with U+FFFD for each surrogate, which is no character."""
    return _SURROGATE.sub("\ufffd", text)


def read_calls(text: str) -> list[ParsedCall]:
    """Return the calls of a text of JSON: objects, or lists of them, one after the other.

    The name is in `name`, or in `function`, which may also hold the whole call; the arguments are in `arguments` or
    `parameters`: an object, an object spelt as a string, or nothing. If anything else is there, there are no calls.
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
            raise ValueError("nested too deep") from None
        if is_too_deep(value, text[at:end]):
            raise ValueError("nested too deep")
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
    """Return arguments as JSON: an object, which may be spelt as a string, or nothing; None for anything else."""
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
