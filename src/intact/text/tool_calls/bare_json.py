"""Calls as plain JSON, without marks: what models write whose template shows no known format, or that forget theirs."""

from __future__ import annotations

from typing import ClassVar

from intact.text.tool_calls.base import ToolCallFormat, read_calls
from intact.text.tool_calls.calls import ParsedCall


class BareJson(ToolCallFormat):
    """`{"name": ..., "arguments": {...}}`, or a list of such objects; also in a fenced block, or between tags.

    A reader that knows the request's tools reads this beside the format of the template (`CallReader`).
    """

    name = "bare_json"
    opens = ""
    closes = ""
    shown_by: ClassVar[tuple[str, ...]] = ()

    def parse(self, text: str) -> list[ParsedCall]:
        """Read an object, or several."""
        return read_calls(text)

    def frame(self, name: str) -> tuple[str, str]:
        """Write one object on a line."""
        return f'{{"name": "{name}", "arguments": ', "}"
