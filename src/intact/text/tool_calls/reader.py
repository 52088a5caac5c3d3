"""Reading of calls from a text that arrives in pieces."""

from __future__ import annotations

from intact.text.thinking import ThinkingTags
from intact.text.tool_calls.base import CallFinder, Region, ToolCallFormat
from intact.text.tool_calls.calls import ParsedCall
from intact.text.tool_calls.regions import CallRegions
from intact.text.tool_calls.signatures import Signatures


class CallReader:
    """Read calls from a text that arrives in pieces; the result does not depend on how it was cut.

    A text between the marks that is no call stays text, and so do calls in thoughts, in inline code, and in a fenced
    block that holds anything else. White space around calls is dropped. A whole call counts even if the text ends
    before its closing mark.

    Parameters
    ----------
    form : ToolCallFormat
        The format of the calls.
    alone : bool
        If true, only the first call counts, and the text ends with it.
    tools : Signatures, optional
        The tools that there are. With them only a call of one of them counts, with names of arguments that it takes;
        and so does a call as plain JSON, in a fenced block, or between tags (`intact.text.tool_calls.blocks`).
    plain : bool
        If false, calls count between the format's marks alone, where it has marks.
    thought : ThinkingTags, optional
        The marks of the thought in which the text begins, if its prompt ended within one.
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
        self._opens = own.literals if own else (form.opens,) if form.closes else ()  # they begin calls of the format
        self._held, self._offset = "", 0  # text that is not decided, and where it begins
        self._fresh = False  # nothing was content since the last call
        self.calls = 0

    def push(self, text: str) -> tuple[str, list[ParsedCall]]:
        """Take more text; return what of it is content for certain, and the calls that are complete."""
        self._held += text
        return self._read(False)

    def flush(self) -> tuple[str, list[ParsedCall]]:
        """Return the same of what was held back, once nothing more will come; after calls not the part of a mark."""
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
        """Return the first part of the text that is calls, or is none though it looks so."""
        region = self._finder.find(self._held, self._offset, ended)
        if region is None or self._tools is None or all(map(self._tools.fits, region.calls)):
            return region
        return region._replace(calls=[])

    def _certain(self, until: int) -> int:
        """Return how much of the held text is content: not white space, or part of what begins a call, at its end."""
        text = self._held[:until]
        if until == len(self._held):
            text = text[: len(text) - max(map(self._part, self._finder.literals), default=0)]
        text = text.rstrip()
        return 0 if self._plain and self._fresh and text.strip() in ("", ",", ";") else len(text)

    def _part(self, literal: str) -> int:
        """Return how much of a text the held one ends with."""
        held = self._held
        return next((n for n in range(min(len(literal) - 1, len(held)), 0, -1) if literal.startswith(held[-n:])), 0)

    def _before_call(self, length: int) -> str:
        """Cut the text before a call off; space is dropped, and what separates it from the call before."""
        separates = self._plain and self._fresh and self._held[:length].strip() in (",", ";")
        text = self._cut(length).rstrip()
        return "" if separates else text

    def _cut(self, length: int) -> str:
        """Take content from the beginning of the held text."""
        text = self._held[:length]
        self._skip(length)
        self._fresh = self._fresh and not text
        return text

    def _skip(self, length: int) -> None:
        self._held, self._offset = self._held[length:], self._offset + length
