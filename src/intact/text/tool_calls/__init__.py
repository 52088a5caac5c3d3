"""Formats in which models write tool calls: one file each, chosen by the marks that a chat template contains."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

from intact.plugins import Registry
from intact.strict_json import is_too_deep

__all__ = ["FORMATS", "CallReader", "ParsedCall", "ToolCallFormat", "find_format", "read_json"]


class ParsedCall(NamedTuple):
    """A call of a tool: the tool's name, and its arguments as a JSON object."""

    name: str
    arguments: str


def read_json(text: str) -> Any:
    """Read JSON that a model wrote.

    Raises
    ------
    ValueError
        If it is no JSON, or nested deeper than is read anywhere (`intact.strict_json.MOST_DEPTH`).
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if is_too_deep(value, text):
        raise ValueError("nested too deep")
    return value


class ToolCallFormat(ABC):
    """The format in which a family of models writes calls: text between two marks.

    A subclass with a `name` is a format; it is found by its file (`FORMATS`).
    """

    name: ClassVar[str]
    opens: ClassVar[str]
    """The mark before a call, or before a list of calls."""
    closes: ClassVar[str]
    """The mark behind it."""

    def fits(self, template: str) -> bool:
        """Return whether the text of a chat template shows tools to the model in this format."""
        return "tools" in template and self.opens in template

    @abstractmethod
    def parse(self, text: str) -> list[ParsedCall]:
        """Return the calls in a text that stood between the marks; none if it is something else."""

    @abstractmethod
    def frame(self, name: str) -> tuple[str, str]:
        """Return the text between the opening mark and a tool's arguments, and that between these and the closing mark.

        Where calls are imposed, a model writes exactly this around arguments of the tool's JSON schema.
        """


def _name_of(value: object) -> str | None:
    """Return the name of a format; None for other objects."""
    return vars(value).get("name") if isinstance(value, type) and issubclass(value, ToolCallFormat) else None


FORMATS: Registry[type[ToolCallFormat]] = Registry("intact.tool_calls", __name__, _name_of)
"""The formats by name: those of this package's files, and those of other packages."""


def find_format(template: str) -> ToolCallFormat | None:
    """Return the format that a chat template shows, or None if it knows no tools or shows an unknown format."""
    return next((form for kind in FORMATS.working().values() if (form := kind()).fits(template)), None)


class CallReader:
    """Read calls from a text that arrives in pieces; the result does not depend on how it was cut.

    A text between the marks that is no call stays text. White space around calls is dropped. A whole call counts even
    if the text ends before its closing mark.

    Parameters
    ----------
    form : ToolCallFormat
        The format of the calls.
    alone : bool
        If true, only the first of a list of calls counts.
    """

    def __init__(self, form: ToolCallFormat, alone: bool = False) -> None:
        self._form, self._alone, self._held = form, alone, ""
        self.calls = 0

    def push(self, text: str) -> tuple[str, list[ParsedCall]]:
        """Take more text; return what of it is content for certain, and the calls that are complete."""
        opens, closes = self._form.opens, self._form.closes
        self._held += text
        content, calls = "", list[ParsedCall]()
        while True:
            start = self._held.find(opens)
            end = self._held.find(closes, start) if start >= 0 else -1
            if end < 0:
                sure = self._sure() if start < 0 else len(self._held[:start].rstrip())
                content += self._held[:sure]
                self._held = self._held[sure:]
                return content, calls
            found = self._calls(self._held[start + len(opens) : end])
            content += self._held[:start].rstrip() if found else self._held[: end + len(closes)]
            calls += found
            self._held = self._held[end + len(closes) :]

    def flush(self) -> tuple[str, list[ParsedCall]]:
        """Return the same of what was held back, once nothing more will come; after calls not the part of a mark."""
        held, self._held = self._held, ""
        before, mark, rest = held.partition(self._form.opens)
        if mark and (found := self._calls(rest)):
            return before.rstrip(), found
        return "" if self.calls and not mark else held, []

    def _calls(self, text: str) -> list[ParsedCall]:
        found = self._form.parse(text)[: 1 if self._alone else None]
        self.calls += len(found)
        return found

    def _sure(self) -> int:
        """Return how much of the text held is content: all but white space, or part of the opening mark, at its end."""
        text, opens = self._held, self._form.opens
        part = next((n for n in range(min(len(opens) - 1, len(text)), 0, -1) if opens.startswith(text[-n:])), 0)
        return len(text[: len(text) - part].rstrip())
