"""Finds the end of calls between two marks, ignoring closing marks in strings."""

from __future__ import annotations

import re
from functools import lru_cache

from intact.text.tool_calls.base import Quotes, ToolCallFormat
from intact.text.tool_calls.calls import ParsedCall
from intact.text.tool_calls.scan import ScanState
from intact.text.tool_calls.signatures import Signatures

_SPACE = re.compile(r"[ \t\r\n]*")


class MarkScan:
    """Finds the first closing mark outside strings in a growing text; each character is visited once.

    Attributes
    ----------
    at : int
        Position of the scan; once it is done, the end of the mark.
    """

    def __init__(self, closes: str, quotes: tuple[Quotes, ...], at: int) -> None:
        self.at = at
        self._string: Quotes | None = None
        self._quotes = {one.opens: one for one in quotes}
        self._marks = (closes, *self._quotes)
        self._pattern = _pattern(self._marks)

    def advance(self, text: str, ended: bool) -> bool:
        """Continue with the text, which has grown at its end; return true once the mark is found."""
        while True:
            if self._string is not None:
                end = self._end_of_string(self._string, text, ended)
                if end is None:
                    return False
                self.at, self._string = end, None
            found = self._pattern.search(text, self.at)
            part = len(text) if ended else self._part(text)
            if found is None or part < found.start():  # an incomplete mark may come first
                self.at = part
                return False
            self.at, self._string = found.end(), self._quotes.get(found[0])
            if self._string is None:
                return True

    def _part(self, text: str) -> int:
        """Return the start of a prefix of a mark at the end of the text, or the text's length."""
        first = max(self.at, len(text) - max(map(len, self._marks)) + 1)
        places = range(first, len(text))
        return next((at for at in places if any(one.startswith(text[at:]) for one in self._marks)), len(text))

    def _end_of_string(self, string: Quotes, text: str, ended: bool) -> int | None:
        """Return the end of a string, or None if it has not ended."""
        if string.escapes:
            end = _unescaped(string.closes).match(text, self.at).end()  # type: ignore[union-attr]
            self.at = end
            return end + 1 if text.startswith(string.closes, end) else None
        while (end := text.find(string.closes, self.at)) >= 0:
            after = end + len(string.closes)
            state = _follows(string.follows, text, after, ended)
            if state is ScanState.WHOLE:
                return after
            self.at = end if state is ScanState.OPEN else after
            if state is ScanState.OPEN:
                return None
        self.at = max(self.at, len(text) - len(string.closes) + 1)
        return None


@lru_cache
def _pattern(marks: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, sorted(marks, key=len, reverse=True))))


@lru_cache
def _unescaped(quote: str) -> re.Pattern[str]:
    """Return a pattern for a string up to its closing quote or an incomplete escape."""
    plain = rf"[^{re.escape(quote)}\\]*+"
    return re.compile(rf"{plain}(?:\\.{plain})*+", re.DOTALL)


def _follows(literals: tuple[str, ...], text: str, at: int, ended: bool) -> ScanState:
    """Check whether one of several literals follows after white space; undecided while more text is needed."""
    if not literals:
        return ScanState.WHOLE
    at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
    if text.startswith(literals, at):
        return ScanState.WHOLE
    rest = text[at : at + max(map(len, literals))]
    return ScanState.OPEN if not ended and any(one.startswith(rest) for one in literals) else ScanState.NONE


def end_of_value(text: str, at: int, string: Quotes) -> int:
    """Return the start of the closing mark of a string that begins at a position, or -1."""
    while (end := text.find(string.closes, at)) >= 0:
        at = end + len(string.closes)
        if not text[at:].strip() or _follows(string.follows, text, at, True) is ScanState.WHOLE:
            return end
    return -1


class MarkedBlock:
    """Calls between a format's marks.

    Parameters
    ----------
    at : int
        End of the opening mark.

    Attributes
    ----------
    end : int
        End of the block. If it contains no calls: the end of the text that is ruled out, or 0 if only the opening mark
        is.
    calls : list of ParsedCall
        Calls so far; empty if a tool or an argument is unknown.
    """

    def __init__(self, form: ToolCallFormat, tools: Signatures | None, at: int) -> None:
        self._form, self._tools, self._at = form, tools, at
        self._scan: MarkScan | None = None
        self._state = ScanState.OPEN
        self.end, self.calls = 0, list[ParsedCall]()

    def advance(self, text: str, ended: bool) -> ScanState:
        """Continue with the text, which has grown at its end; it is whole if it consists of calls to any tools."""
        if self._state is ScanState.OPEN:
            self._state = self._advance(text, ended)
        return self._state

    def _advance(self, text: str, ended: bool) -> ScanState:
        form = self._form
        if self._scan is None:
            state = _follows(form.begins, text, self._at, ended)
            if state is not ScanState.WHOLE:
                return state
            self._scan = MarkScan(form.closes, form.quotes, self._at)
        if self._scan.advance(text, ended):
            self.end = self._scan.at
            if self._parse(text[self._at : self.end - len(form.closes)]):
                return ScanState.WHOLE
        elif not ended:
            return ScanState.OPEN
        first = text.find(form.closes, self._at)
        if first < 0 and self._parse(text[self._at :]):
            self.end = len(text)
            return ScanState.WHOLE
        self.end = 0 if first < 0 else first + len(form.closes)
        return ScanState.NONE

    def _parse(self, text: str) -> bool:
        calls = self._form.read(text, self._tools)
        fits = self._tools is None or all(map(self._tools.fits, calls))
        self.calls = calls if fits else []
        return bool(calls)
