"""Calls as Qwen and Hermes write them: `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`."""

from __future__ import annotations

from intact.text.tool_calls.base import ToolCallFormat, read_calls
from intact.text.tool_calls.calls import ParsedCall
from intact.text.tool_calls.glm import ARGUMENT
from intact.text.tool_calls.seed import FUNCTION


class Hermes(ToolCallFormat):
    """A JSON object with name and arguments between the marks; SmolLM2 writes a list of such objects."""

    name = "hermes"
    opens = "<tool_call>"
    closes = "</tool_call>"
    begins = ("{", "[")
    excludes = (FUNCTION, ARGUMENT)

    def parse(self, text: str) -> list[ParsedCall]:
        """Read an object or a list of objects; one that is no call makes the whole text none."""
        return read_calls(text)

    def frame(self, name: str) -> tuple[str, str]:
        """Write the object over three lines, as the templates show it."""
        return f'\n{{"name": "{name}", "arguments": ', "}\n"
