"""Blocks of calls outside a format's marks: fenced, between other tags, after a mark, or as bare JSON."""

from __future__ import annotations

import re

from intact.text.tool_calls.base import SEPARATORS, ToolCallFormat, read_calls
from intact.text.tool_calls.calls import ParsedCall
from intact.text.tool_calls.marked import MarkedBlock
from intact.text.tool_calls.scan import CallScan, ScanState
from intact.text.tool_calls.signatures import Signatures

FENCE = "```"
FENCE_PART = re.compile(r"`{3,}[ \t]*+[a-z_]{0,9}+[ \t]*+\r?", re.IGNORECASE)
"""A prefix of the line that opens a fenced block."""
TAGS_AROUND = {"<tools>": "</tools>", "<tool_call>": "</tool_call>"}
"""Tags that models write around calls, regardless of their template (`<tools>`: Qwen2.5-Coder)."""
_FENCE_LINE = re.compile(r"`{3,}[ \t]*+(?:json|xml|tool_call|tool_code|tool)?+[ \t]*+\r?\n", re.IGNORECASE)


class UnmarkedBlock:
    """Calls between an opening and a closing literal; in a fenced block, calls may also be between the format's marks.

    Parameters
    ----------
    text : str
        The text, starting at the opening.
    opening : str
        Backticks, a tag, a mark, or the first bracket of JSON.
    tools : Signatures or None
        Tools of JSON calls; None if JSON calls do not count.
    form : ToolCallFormat or None
        Format whose marks also count in a fenced block.
    known : Signatures or None
        Tools of calls between marks.

    Attributes
    ----------
    end : int
        End of the block.
    calls : list of ParsedCall
        Calls so far.
    """

    def __init__(
        self,
        text: str,
        opening: str,
        tools: Signatures | None,
        form: ToolCallFormat | None = None,
        known: Signatures | None = None,
    ) -> None:
        self._tools, self._known = tools, known
        self._is_bare, self._is_fence = opening in ("{", "["), opening.startswith(FENCE)
        self._form = form if self._is_fence else None
        self._closing = opening if self._is_fence else TAGS_AROUND.get(opening, "")
        self._at = 0 if self._is_bare else len(opening)
        self.end, self.calls = 0, list[ParsedCall]()
        self._member: CallScan | MarkedBlock | None = None
        self._opened = True
        if self._is_fence:
            line = _FENCE_LINE.match(text)
            self._opened, self._at = line is not None, line.end() if line else 0

    def advance(self, text: str, ended: bool) -> ScanState:
        """Continue with the text, which has grown at its end."""
        if not self._opened:
            return ScanState.NONE
        while True:
            if self._member is None:
                state = self._between(text, ended)
                if state is not None:
                    return state
            state = self._read_member(text, ended)
            if state is not None:
                return state
            if self._is_bare:
                return ScanState.WHOLE

    def _read_member(self, text: str, ended: bool) -> ScanState | None:
        """Read a call or a list of calls; return the state of the block, or None if the block continues after them."""
        member = self._member
        if isinstance(member, MarkedBlock):
            state = member.advance(text, ended)
            calls, end = member.calls, member.end
        else:
            assert member is not None
            assert self._tools is not None
            start, state = self._at, member.advance(text)
            state = ScanState.NONE if ended and state is ScanState.OPEN else state
            calls, end = [], member.at
            if state is ScanState.WHOLE:
                calls = read_calls(text[start:end])
                calls = calls if all(map(self._tools.fits, calls)) else []
        if state is ScanState.OPEN:
            return state
        if state is ScanState.NONE:
            return self._end_of_calls()
        if not calls:
            return ScanState.NONE
        self.calls += calls
        self.end = self._at = end
        self._member = None
        return None

    def _between(self, text: str, ended: bool) -> ScanState | None:
        """Return the state between two calls; None if another one begins."""
        form, closing = self._form, self._closing
        opens = "" if form is None else form.opens
        while True:
            self._at = at = SEPARATORS.match(text, self._at).end()  # type: ignore[union-attr]
            rest = text[at : at + max(len(closing), len(opens)) + 1]
            if closing and rest.startswith(closing):
                self.end = at + len(closing)
                return ScanState.WHOLE if self.calls else ScanState.NONE
            if not rest or closing.startswith(rest) or opens.startswith(rest):
                return (ScanState.WHOLE if self.calls else ScanState.NONE) if ended else ScanState.OPEN
            if form is None or not opens or not rest.startswith(opens):
                break
            self._at = at + len(opens)
            if form.closes:
                self._member = MarkedBlock(form, self._known, self._at)
                return None
        if rest[0] not in "{[" or self._tools is None:
            return self._end_of_calls()
        self._member = CallScan(self._tools, at)
        return None

    def _end_of_calls(self) -> ScanState:
        """Return the state if something other than a call follows: a fenced block must contain only calls."""
        return ScanState.WHOLE if self.calls and not self._is_fence else ScanState.NONE
