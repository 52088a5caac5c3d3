"""Finds the calls in a reply: between marks or as plain JSON, but not in thinking, code, or strings of other calls."""

from __future__ import annotations

import re

from intact.text.thinking import TAGS, ThinkingTags
from intact.text.tool_calls.base import Region, ToolCallFormat
from intact.text.tool_calls.blocks import FENCE, FENCE_PART, TAGS_AROUND, UnmarkedBlock
from intact.text.tool_calls.marked import MarkedBlock
from intact.text.tool_calls.scan import ScanState
from intact.text.tool_calls.signatures import Signatures

_THOUGHTS = {tags.opens: tags.closes for tags in TAGS}
_CALL, _LIST = r'\{(?=[ \t\r\n]*+(?:"|\Z))', r"\[(?=[ \t\r\n]*+(?:\{|\Z))"
"""The opening brackets of a call and of a list of calls, recognised by the text that follows."""
_STRING_REST = re.compile(r'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_SPAN_MARKS = re.compile(r"`+|\n\r?\n")
_MOST_UNFINISHED = 64
"""Maximum number of unfinished blocks examined after the text has ended: each may have to be read to its end."""
_GLIMPSE = 256
"""Number of characters that rule out most beginnings, without copying all the text after them."""


class CallRegions:
    """Finds calls in a growing text, passed to `find` repeatedly; decisions are final.

    There are no calls within thinking, inline code, fenced blocks that contain anything but calls, or the strings of an
    answer that must be JSON.

    Parameters
    ----------
    form : ToolCallFormat
        Format; its calls are between its marks, or plain JSON after a mark.
    tools : Signatures or None
        Available tools.
    plain : bool
        If true, calls as plain JSON count too, in a fenced block or between tags; if false and there are tools, the
        text consists of calls or is a JSON answer.
    thought : ThinkingTags, optional
        Marks of the thinking in which the text begins.
    """

    def __init__(
        self, form: ToolCallFormat, tools: Signatures | None, plain: bool, thought: ThinkingTags | None = None
    ) -> None:
        self._form, self._marked = form, form if form.closes else None
        self._tools, self._plain = tools, tools if plain else None
        self._mark = form.opens if self._plain is not None and not form.closes else ""
        tags = TAGS_AROUND if self._plain is not None else ()
        opens = [form.opens] if self._marked else []
        begins = list(dict.fromkeys(one for one in (*_THOUGHTS, *opens, *tags, self._mark) if one))
        self.literals = (*begins, *_THOUGHTS.values())
        """Literals; a prefix of one at the end of the text so far must not be released as content."""
        brackets = [_CALL, _LIST] if self._plain is not None else []
        code = '"' if tools is not None and not plain else "`+"
        self._begins = re.compile("|".join([code, *map(re.escape, begins), *brackets]))
        self._longest = max(map(len, begins))
        self._decided = 0  # counted from the beginning of the text, like the other positions
        self._thought = "" if thought is None else thought.closes  # the mark that ends it
        self._fence = 0  # number of backticks that opened the current code
        self._in_string = False
        self._span = (-1, 0)  # backticks that may open inline code, and the end of the search for its end
        self._unfinished = 0
        self._block: tuple[int, MarkedBlock | None, UnmarkedBlock | None] | None = None

    def find(self, text: str, offset: int, ended: bool) -> Region | None:
        """Return the first region, or None; the parameters are the same as for `CallFinder.find`."""
        while True:
            if self._is_hidden:
                held = self._leave(text, offset, ended)
                if self._is_hidden:
                    return held
            begin = self._begins.search(text, max(0, self._decided - offset))
            if begin is None:  # only a prefix of an opening, at the end, may still become one
                self._decided = max(self._decided, offset + len(text) - self._longest + 1)
                return None
            start, place, opening = begin.start(), offset + begin.start(), begin[0]
            if opening in _THOUGHTS:
                self._thought, self._decided = _THOUGHTS[opening], offset + begin.end()
                continue
            if opening == '"':
                self._in_string, self._decided = True, offset + begin.end()
                continue
            if opening[0] == "`" and begin.end() == len(text) and not ended:
                return Region(start, None, [])
            if opening[0] == "`" and len(opening) < len(FENCE):
                end = self._end_of_span(text, begin, offset, ended)
                if end is None:
                    return Region(start, None, [])
                self._decided = offset + end
                continue
            if self._is_known_none(text, opening, start, offset):
                self._decided = place + 1
                continue
            rest = text[start:]
            if not ended and self._may_become_longer(rest):
                return Region(start, None, [])
            region = self._advance(rest, opening, place, ended)
            if region is not None:
                return region._replace(start=start, end=None if region.end is None else start + region.end)
            self._decided = place + len(opening)
            self._fence = len(opening) if opening[0] == "`" else 0

    @property
    def _is_hidden(self) -> bool:
        """True within thinking, code or a string."""
        return bool(self._thought or self._fence or self._in_string)

    def _leave(self, text: str, offset: int, ended: bool) -> Region | None:
        """Search for the end of the hidden part; return the part of the text that must be held back until then."""
        at = max(0, self._decided - offset)
        if self._in_string:
            end = _STRING_REST.match(text, at).end()  # type: ignore[union-attr]
            self._in_string = not text.startswith('"', end)
            self._decided = offset + end + (not self._in_string)
            return Region(end, None, []) if end < len(text) and not ended else None
        if self._thought:
            found = text.find(self._thought, at)
            if found >= 0:
                self._decided, self._thought = offset + found + len(self._thought), ""
            return None
        closing = re.compile(f"`{{{self._fence},}}").search(text, at)
        if closing is not None and (ended or closing.end() < len(text)):
            self._decided, self._fence = offset + closing.end(), 0
            return None
        tail = len(text.rstrip("`"))
        self._decided = max(self._decided, offset + tail)
        return None if ended or tail == len(text) else Region(tail, None, [])

    def _end_of_span(self, text: str, begin: re.Match[str], offset: int, ended: bool) -> int | None:
        """Return the end of inline code in its paragraph, or of its backticks if unclosed; None if undecided."""
        place = offset + begin.start()
        at = self._span[1] - offset if self._span[0] == place else begin.end()
        for mark in _SPAN_MARKS.finditer(text, at):
            if mark.end() == len(text) and not ended and mark[0][0] == "`":
                break
            if mark[0][0] == "\n":
                return begin.end()
            if len(mark[0]) == len(begin[0]):
                return mark.end()
            at = mark.end()
        if ended:
            return begin.end()
        tail = len(text.rstrip("`\r\n"))
        self._span = place, offset + max(at, tail)
        return None

    def _advance(self, rest: str, opening: str, place: int, ended: bool) -> Region | None:
        """Read the block that begins with an opening; return its region relative to it, or None if it is not a call."""
        if self._block is None or self._block[0] != place:
            marked = None
            if self._marked is not None and opening == self._marked.opens:
                marked = MarkedBlock(self._marked, self._tools, len(opening))
            has_other = self._plain is not None and opening in TAGS_AROUND
            self._block = place, marked, self._unmarked_block(rest, opening) if marked is None or has_other else None
        _, marked, other = self._block
        if ended and marked is not None:
            self._unfinished += 1
            marked = marked if self._unfinished <= _MOST_UNFINISHED else None
        for block in (marked, other):
            if block is None:
                continue
            state = block.advance(rest, ended)
            if state is not ScanState.NONE:
                return Region(0, block.end, block.calls) if state is ScanState.WHOLE else Region(0, None, [])
        return Region(0, marked.end, []) if marked is not None and marked.end else None

    def _unmarked_block(self, rest: str, opening: str) -> UnmarkedBlock:
        return UnmarkedBlock(rest, opening, self._plain, self._form, known=self._tools)

    def _is_known_none(self, text: str, opening: str, start: int, offset: int) -> bool:
        """Return true if the next characters rule out a call at a bracket; this keeps hostile input cheap."""
        if opening not in ("{", "[") or (self._block is not None and self._block[0] == offset + start):
            return False
        glimpse = text[start : start + _GLIMPSE]
        return not self._mark.startswith(glimpse) and (
            self._unmarked_block(glimpse, opening).advance(glimpse, False) is ScanState.NONE
        )

    def _may_become_longer(self, rest: str) -> bool:
        """Return true if the text so far may be a prefix of the mark, or of the line that opens a fenced block."""
        is_part = bool(self._mark) and len(rest) < len(self._mark) and self._mark.startswith(rest)
        return is_part or (FENCE_PART.fullmatch(rest) is not None)
