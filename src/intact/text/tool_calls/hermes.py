"""Qwen and Hermes calls: `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`."""

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
        """Parse an object or a list of objects; one that is not a call makes the result empty."""
        return read_calls(text)

    def frame(self, name: str) -> tuple[str, str]:
        """Return the frame of an object on three lines, as in the templates."""
        return f'\n{{"name": "{name}", "arguments": ', "}\n"
