"""Marks around what a model thinks before it answers: one file a format."""

from __future__ import annotations

from typing import Literal, NamedTuple


class ThinkingFormat(NamedTuple):
    """The marks with which a family of models sets its thoughts apart.

    Attributes
    ----------
    opens, closes : str
        The marks before and behind the thoughts.
    """

    opens: str
    closes: str


class ThoughtReader:
    """Tell thoughts from text that arrives in pieces; the result does not depend on how it was cut.

    Only thoughts at the beginning count. White space around them is dropped.

    Parameters
    ----------
    form : ThinkingFormat
        The marks of the thoughts.
    begun : bool
        If true, the text begins within thoughts: the prompt ended with the opening mark.
    """

    def __init__(self, form: ThinkingFormat, begun: bool = False) -> None:
        self._form, self._held, self._is_empty = form, "", True
        self._stage: Literal["before", "thoughts", "behind", "text"] = "thoughts" if begun else "before"

    def push(self, text: str) -> list[tuple[bool, str]]:
        """Take more text; return the parts of it that are certain, each with true if it is thoughts."""
        self._held += text
        parts = list[tuple[bool, str]]()
        if self._stage == "before":
            self._find_beginning()
        if self._stage == "thoughts" and (thoughts := self._read_thoughts()):
            parts.append((True, thoughts))
        if self._stage == "behind":
            self._held = self._held.lstrip()
            if self._held:
                self._stage = "text"
        if self._stage == "text" and self._held:
            parts.append((False, self._held))
            self._held = ""
        return parts

    def flush(self) -> list[tuple[bool, str]]:
        """Return the same of what was held back, once nothing more will come."""
        held, self._held = self._held, ""
        return [(self._stage == "thoughts", held)] if held else []

    def _find_beginning(self) -> None:
        start, opens = self._held.lstrip(), self._form.opens
        if start.startswith(opens):
            self._stage, self._held = "thoughts", start[len(opens) :]
        elif not opens.startswith(start):
            self._stage = "text"

    def _read_thoughts(self) -> str:
        """Return the certain part of the thoughts: all but white space, or part of the closing mark, at their end."""
        closes = self._form.closes
        if self._is_empty:
            self._held = self._held.lstrip()
        thoughts, mark, rest = self._held.partition(closes)
        if mark:
            self._stage, self._held = "behind", rest
            return thoughts.rstrip()
        part = next((n for n in range(len(closes) - 1, 0, -1) if thoughts.endswith(closes[:n])), 0)
        sure = thoughts[: len(thoughts) - part].rstrip()
        self._held, self._is_empty = thoughts[len(sure) :], self._is_empty and not sure
        return sure
