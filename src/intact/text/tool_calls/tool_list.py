"""Hunyuan and Jamba calls: `<tool_calls>[{"name": ..., "arguments": {...}}]</tool_calls>`."""

from __future__ import annotations

from intact.text.tool_calls.base import ToolCallFormat, read_calls
from intact.text.tool_calls.calls import ParsedCall


class ToolList(ToolCallFormat):
    """A list of objects with name and arguments between the marks."""

    name = "tool_list"
    opens = "<tool_calls>"
    closes = "</tool_calls>"
    begins = ("{", "[")

    def parse(self, text: str) -> list[ParsedCall]:
        """Parse a list of objects or one object; one that is not a call makes the result empty."""
        return read_calls(text)

    def frame(self, name: str) -> tuple[str, str]:
        """Return the frame of a list with one call."""
        return f'[{{"name": "{name}", "arguments": ', "}]"
