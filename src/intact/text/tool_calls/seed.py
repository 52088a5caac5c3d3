"""Calls as Seed-OSS writes them: `<seed:tool_call><function=NAME><parameter=KEY>VALUE</parameter></function>...`."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from intact.text.tool_calls.base import ParsedCall, ToolCallFormat, read_arguments, read_json

FUNCTION: Final = "<function="
"""The tag of a call, up to the tool's name."""
_CALL: Final = re.compile(rf"\s*{FUNCTION}([^<>\s]+)>(.*?)</function>", re.DOTALL)
_PARAMETER: Final = re.compile(r"\s*<parameter=([^<>\s]+)>\n?(.*?)\n?</parameter>", re.DOTALL)


class Seed(ToolCallFormat):
    """Calls of tags, a parameter each; a value that is JSON but no string is taken as such, all others are text."""

    name = "seed"
    opens = "<seed:tool_call>"
    closes = "</seed:tool_call>"

    def parse(self, text: str) -> list[ParsedCall]:
        """Read calls until the text ends; anything else makes the whole text none. Arguments may be one JSON object."""
        found, at = list[ParsedCall](), 0
        while match := _CALL.match(text, at):
            arguments = _arguments(match[2])
            if arguments is None:
                return []
            found.append(ParsedCall(match[1], arguments))
            at = match.end()
        return [] if text[at:].strip() else found

    def frame(self, name: str) -> tuple[str, str]:
        """Write one call whose arguments are one JSON object, as a schema can impose no tags."""
        return f"\n{FUNCTION}{name}>", "</function>\n"


def _arguments(text: str) -> str | None:
    """Return the parameters between tags as a JSON object; None if something else is there."""
    if text.lstrip().startswith("{"):
        return read_arguments(text)
    values: dict[str, Any] = {}
    at = 0
    while match := _PARAMETER.match(text, at):
        values[match[1]] = _value(match[2])
        at = match.end()
    return None if text[at:].strip() else json.dumps(values, ensure_ascii=False)


def _value(text: str) -> Any:
    try:
        value = read_json(text)
    except ValueError:
        return text
    return text if isinstance(value, str) else value
