"""Calls as Hunyuan and Jamba write them: `<tool_calls>[{"name": ..., "arguments": {...}}]</tool_calls>`."""

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
        """Read a list of objects or one object; one that is no call makes the whole text none."""
        return read_calls(text)

    def frame(self, name: str) -> tuple[str, str]:
        """Write a list of one call."""
        return f'[{{"name": "{name}", "arguments": ', "}]"
