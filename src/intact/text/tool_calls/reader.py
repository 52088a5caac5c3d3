"""Reader that separates content and tool calls in text that arrives in chunks."""

from __future__ import annotations

from intact.text.thinking import ThinkingTags
from intact.text.tool_calls.base import CallFinder, Region, ToolCallFormat
from intact.text.tool_calls.calls import ParsedCall
from intact.text.tool_calls.regions import CallRegions
from intact.text.tool_calls.signatures import Signatures


class CallReader:
    """Reads calls from text that arrives in chunks; the result does not depend on how the text is chunked.

    Text between the marks that is not a call stays text, and so do calls within thinking, inline code, or a fenced
    block that contains anything else. White space around calls is dropped. A complete call counts even if the text ends
    before its closing mark.

    Parameters
    ----------
    form : ToolCallFormat
        Format of the calls.
    alone : bool
        If true, only the first call counts, and the text ends with it.
    tools : Signatures, optional
        Available tools. If given, only calls to these tools with valid argument names count, but calls then also count
        if they are plain JSON, in a fenced block, or between tags (`intact.text.tool_calls.blocks`).
    plain : bool
        If false, calls count only between the format's marks, if it has any.
    thought : ThinkingTags, optional
        Marks of the thinking in which the text begins if its prompt ended within thinking.
    """

    def __init__(
        self,
        form: ToolCallFormat,
        alone: bool = False,
        tools: Signatures | None = None,
        plain: bool = True,
        thought: ThinkingTags | None = None,
    ) -> None:
        self._alone, self._tools = alone, tools
        own = form.finder()
        self._plain = tools is not None and own is None and (plain or not form.closes)
        self._finder: CallFinder = own or CallRegions(form, tools, self._plain, thought)
        self._opens = own.literals if own else (form.opens,) if form.closes else ()  # texts that begin calls
        self._held, self._offset = "", 0  # undecided text, and its position
        self._fresh = False  # no content since the last call
        self.calls = 0

    def push(self, text: str) -> tuple[str, list[ParsedCall]]:
        """Add text; return the content that is now certain, and the completed calls."""
        self._held += text
        return self._read(False)

    def flush(self) -> tuple[str, list[ParsedCall]]:
        """Return the content and calls held back, once the text has ended; drops an incomplete mark after calls."""
        content, calls = self._read(True)
        rest = self._cut(len(self._held))
        left = rest.strip()
        is_part = not left or any(one.startswith(left) and left != one for one in self._opens)
        return content + ("" if self.calls and is_part else rest), calls

    def _read(self, ended: bool) -> tuple[str, list[ParsedCall]]:
        """Return content and calls as far as they are certain; the rest stays held."""
        content, calls = "", list[ParsedCall]()
        while not (self._alone and self.calls):
            region = self._next_region(ended)
            if region is None or region.end is None:
                more = self._cut(self._certain(len(self._held) if region is None else region.start))
                return content + more, calls
            if not region.calls:
                content += self._cut(region.end)
                continue
            content += self._before_call(region.start)
            self._skip(region.end - region.start)
            found = region.calls[:1] if self._alone else region.calls
            self.calls += len(found)
            self._fresh, calls = True, calls + found
        self._held = ""
        return content, calls

    def _next_region(self, ended: bool) -> Region | None:
        """Return the first part of the text that is a call, or that looks like one but is not."""
        region = self._finder.find(self._held, self._offset, ended)
        if region is None or self._tools is None or all(map(self._tools.fits, region.calls)):
            return region
        return region._replace(calls=[])

    def _certain(self, until: int) -> int:
        """Return the length of held text that is content: excludes trailing white space and a call's beginning."""
        text = self._held[:until]
        if until == len(self._held):
            text = text[: len(text) - max(map(self._part, self._finder.literals), default=0)]
        text = text.rstrip()
        return 0 if self._plain and self._fresh and text.strip() in ("", ",", ";") else len(text)

    def _part(self, literal: str) -> int:
        """Return the length of the longest prefix of a literal with which the held text ends."""
        held = self._held
        return next((n for n in range(min(len(literal) - 1, len(held)), 0, -1) if literal.startswith(held[-n:])), 0)

    def _before_call(self, length: int) -> str:
        """Cut off the text before a call, dropping white space and the separator from the previous call."""
        separates = self._plain and self._fresh and self._held[:length].strip() in (",", ";")
        text = self._cut(length).rstrip()
        return "" if separates else text

    def _cut(self, length: int) -> str:
        """Cut off content from the beginning of the held text."""
        text = self._held[:length]
        self._skip(length)
        self._fresh = self._fresh and not text
        return text

    def _skip(self, length: int) -> None:
        self._held, self._offset = self._held[length:], self._offset + length
