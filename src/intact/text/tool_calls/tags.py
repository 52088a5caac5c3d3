"""The part that formats share whose calls are tags, one for each argument."""

from __future__ import annotations

import json
import re
from typing import Any, ClassVar

from intact.text.tool_calls.base import ParsedCall, ToolCallFormat, read_arguments, read_json


class TagCalls(ToolCallFormat):
    """Calls of tags; a value that is JSON but no string is taken as such, all others are text."""

    call: ClassVar[re.Pattern[str]]
    """A call: its tool's name, and the tags of its arguments."""
    argument: ClassVar[re.Pattern[str]]
    """An argument: its name and its value."""

    def parse(self, text: str) -> list[ParsedCall]:
        """Read calls until the text ends; anything else makes the whole text none. Arguments may be one JSON object."""
        found, at = list[ParsedCall](), 0
        while match := self.call.match(text, at):
            arguments = self.arguments(match[2])
            if arguments is None:
                return []
            found.append(ParsedCall(match[1], arguments))
            at = match.end()
        return [] if text[at:].strip() else found

    def arguments(self, text: str) -> str | None:
        """Return the arguments between tags as a JSON object; None if something else is there."""
        if text.lstrip().startswith("{"):
            return read_arguments(text)
        values: dict[str, Any] = {}
        at = 0
        while match := self.argument.match(text, at):
            values[match[1]] = _value(match[2])
            at = match.end()
        return None if text[at:].strip() else json.dumps(values, ensure_ascii=False)


def _value(text: str) -> Any:
    try:
        value = read_json(text)
    except ValueError:
        return text
    return text if isinstance(value, str) else value
