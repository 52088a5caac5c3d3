"""Calls as Qwen and Hermes write them: `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`."""

from __future__ import annotations

import json
from typing import Any

from intact.text.tool_calls import ParsedCall, ToolCallFormat, read_json


class Hermes(ToolCallFormat):
    """A JSON object with name and arguments between the marks; SmolLM2 writes a list of such objects."""

    name = "hermes"
    opens = "<tool_call>"
    closes = "</tool_call>"

    def parse(self, text: str) -> list[ParsedCall]:
        """Read an object or a list of objects; one that is no call makes the whole text none."""
        try:
            value = read_json(text)
        except ValueError:
            return []
        found = []
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, dict) or not isinstance(one.get("name"), str):
                return []
            arguments = _arguments(one.get("arguments", one.get("parameters")))
            if arguments is None:
                return []
            found.append(ParsedCall(one["name"], arguments))
        return found

    def frame(self, name: str) -> tuple[str, str]:
        """Write the object over three lines, as the templates show it."""
        return f'\n{{"name": "{name}", "arguments": ', "}\n"


def _arguments(given: Any) -> str | None:
    """Return arguments as JSON: an object, which may be spelt as a string, or nothing; None for anything else."""
    try:
        value = read_json(given or "{}") if isinstance(given, str) else {} if given is None else given
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    return given if given and isinstance(given, str) else json.dumps(value, ensure_ascii=False)
