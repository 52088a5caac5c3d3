"""Calls as plain JSON in a text: alone, in a fenced block, between tags, or behind a mark that needs no closing one."""

from __future__ import annotations

import re

from intact.text.thinking import TAGS
from intact.text.tool_calls.base import SEPARATORS, Region, read_calls
from intact.text.tool_calls.scan import CallScan, ScanState
from intact.text.tool_calls.signatures import Signatures

FENCE = "```"
_THOUGHTS = {tags.opens: tags.closes for tags in TAGS}
_FENCE_LINE = re.compile(r"```[ \t]*+(?:json|tool_call|tool_code|tool)?+[ \t]*+\r?\n", re.IGNORECASE)
_FENCE_PART = re.compile(r"```[ \t]*+[a-z_]{0,9}+[ \t]*+\r?", re.IGNORECASE)
_TAGS = {"<tools>": "</tools>", "<tool_call>": "</tool_call>"}
"""Tags that models write around calls, whatever their template shows (`<tools>`: Qwen2.5-Coder)."""
_GLIMPSE = 256
"""Characters by which most beginnings are seen to be none, without a copy of all that follows them."""


class PlainCalls:
    """Find calls in a text, of which each call of `find` brings more; what was decided stays so.

    In a fenced block that is not made of calls alone, such as code, and in a thought there are none.

    Parameters
    ----------
    tools : Signatures
        The tools that there are.
    mark : str
        A mark that may stand before calls, and then is no text.
    """

    def __init__(self, tools: Signatures, mark: str = "") -> None:
        self._tools, self._mark = tools, mark
        begins = [one for one in (FENCE, *_TAGS, *_THOUGHTS, mark) if one]
        self.literals = (*begins, *_THOUGHTS.values())
        """Texts of which a part, at the end of the text so far, must not be taken for content."""
        self._begins = re.compile("|".join([*map(re.escape, begins), r"[{\[]"]))
        self._longest = max(map(len, begins))
        self._decided = 0  # counted from the text's beginning, as is the place of the block
        self._closing = ""  # of the code or thought that is being read
        self._block: tuple[int, _Block] | None = None

    def find(self, text: str, offset: int, limit: int | None, ended: bool) -> Region | None:
        """Return the first region, or None; the parameters are those of `CallFinder.find`, and one more.

        Parameters
        ----------
        limit : int or None
            Where in the text something else begins, before which a region must begin.
        """
        while True:
            at = max(0, self._decided - offset)
            if closing := self._closing:
                found = text.find(closing, at, None if limit is None else limit + len(closing) - 1)
                if found < 0:
                    return None
                self._closing, self._decided = "", offset + found + len(closing)
                continue
            begin = self._begins.search(text, at)
            if begin is None:  # only a part of a beginning at the end may still become one
                self._decided = max(self._decided, offset + len(text) - self._longest + 1)
                return None
            if limit is not None and begin.start() >= limit:
                return None
            start = begin.start()
            if begin[0] in _THOUGHTS:
                self._closing, self._decided = _THOUGHTS[begin[0]], offset + start + len(begin[0])
                continue
            if self._is_known_none(text, begin[0], start, offset):
                self._decided = offset + start + 1
                continue
            rest = text[start:]
            if not ended and self._may_become_longer(rest):
                return Region(start, None, [])
            if self._block is None or self._block[0] != offset + start:
                self._block = offset + start, _Block(rest, begin[0], self._tools)
            block = self._block[1]
            state = block.advance(rest, ended)
            if state is ScanState.OPEN:
                return Region(start, None, [])
            if state is ScanState.WHOLE:
                calls = read_calls(rest[block.first : block.last])
                if calls and all(map(self._tools.fits, calls)):
                    return Region(start, start + block.end, calls)
            self._decided = offset + start + len(begin[0])
            self._closing = FENCE if begin[0] == FENCE else ""

    def _is_known_none(self, text: str, opening: str, start: int, offset: int) -> bool:
        """Return whether the next characters show that a bracket begins no call, so that hostile text costs no more."""
        if opening not in ("{", "[") or (self._block is not None and self._block[0] == offset + start):
            return False
        glimpse = text[start : start + _GLIMPSE]
        return not self._mark.startswith(glimpse) and (
            _Block(glimpse, opening, self._tools).advance(glimpse, False) is ScanState.NONE
        )

    def _may_become_longer(self, rest: str) -> bool:
        """Return whether the text so far may be a part of the mark, or of the line that opens a fenced block."""
        is_part = bool(self._mark) and len(rest) < len(self._mark) and self._mark.startswith(rest)
        return is_part or (_FENCE_PART.fullmatch(rest) is not None)


class _Block:
    """Calls between an opening and a closing text.

    Parameters
    ----------
    text : str
        The text from the opening on.
    opening : str
        A fence, a tag, a mark, or the first bracket of JSON.

    Attributes
    ----------
    first, last : int
        Where the JSON is.
    end : int
        The end of the block.
    """

    def __init__(self, text: str, opening: str, tools: Signatures) -> None:
        self._tools = tools
        self._is_bare = opening in ("{", "[")
        self._closing = FENCE if opening == FENCE else _TAGS.get(opening, "")
        self.first = 0 if self._is_bare else len(opening)
        self.last = self.end = 0
        self._scan: CallScan | None = None
        self._opened = True
        if opening == FENCE:
            line = _FENCE_LINE.match(text)
            self._opened, self.first = line is not None, line.end() if line else 0
        self._at = self.first

    def advance(self, text: str, ended: bool) -> ScanState:
        """Go on with a text that has grown at its end."""
        if not self._opened:
            return ScanState.NONE
        while True:
            if self._scan is None:
                state = self._between(text, ended)
                if state is not None:
                    return state
                self._scan = CallScan(self._tools, self._at)
            state = self._scan.advance(text)
            if state is ScanState.OPEN and not ended:
                return ScanState.OPEN
            if state is not ScanState.WHOLE:
                return self._end_of_calls()
            self.last = self.end = self._at = self._scan.at
            self._scan = None
            if self._is_bare:
                return ScanState.WHOLE

    def _between(self, text: str, ended: bool) -> ScanState | None:
        """Return the state between two calls; None if another may begin."""
        at = SEPARATORS.match(text, self._at).end()  # type: ignore[union-attr]
        closing, rest = self._closing, text[at : at + len(self._closing) + 1]
        if closing and rest.startswith(closing):
            self.end = at + len(closing)
            return ScanState.WHOLE if self.last else ScanState.NONE
        if not rest or (closing and closing.startswith(rest)):
            return (ScanState.WHOLE if self.last else ScanState.NONE) if ended else ScanState.OPEN
        if rest[0] not in "{[":
            return self._end_of_calls()
        self._at = at
        return None

    def _end_of_calls(self) -> ScanState:
        """Return the state where something else than a call follows: a fenced block has to be all calls."""
        return ScanState.WHOLE if self.last and self._closing != FENCE else ScanState.NONE
