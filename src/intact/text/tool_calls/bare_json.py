"""Calls as plain JSON without marks, for templates with an unknown format and for models that omit their marks."""

from __future__ import annotations

from typing import ClassVar

from intact.text.tool_calls.base import ToolCallFormat, read_calls
from intact.text.tool_calls.calls import ParsedCall


class BareJson(ToolCallFormat):
    """`{"name": ..., "arguments": {...}}`, or a list of such objects; also in a fenced block, or between tags.

    A reader that knows the request's tools accepts this format in addition to the template's own (`CallReader`).
    """

    name = "bare_json"
    opens = ""
    closes = ""
    marks: ClassVar[tuple[str, ...]] = ()

    def parse(self, text: str) -> list[ParsedCall]:
        """Parse one or more objects."""
        return read_calls(text)

    def frame(self, name: str) -> tuple[str, str]:
        """Return the frame of one object on one line."""
        return f'{{"name": "{name}", "arguments": ', "}"
