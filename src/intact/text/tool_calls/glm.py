"""GLM-4.5 to 4.7 calls: `<tool_call>NAME<arg_key>KEY</arg_key><arg_value>VALUE</arg_value>...`."""

from __future__ import annotations

import re
from typing import Any, Final

from intact.text.tool_calls.base import JSON_STRING, Quotes
from intact.text.tool_calls.tags import TagCalls
from intact.text.tool_calls.values import or_json

ARGUMENT: Final = "<arg_key>"
"""The tag of an argument's name."""


class GlmTags(TagCalls):
    """The tool's name, followed by a tag with the name and a tag with the value of each argument."""

    name = "glm"
    opens = "<tool_call>"
    closes = "</tool_call>"
    opens_call = re.compile(r"\s*([^<>{}\s]+)\s*(?=<arg_key>|\{|\Z)")
    closes_call = ""
    opens_value = re.compile(r"\s*<arg_key>([^<>]+)</arg_key>\s*<arg_value>")
    value = Quotes("<arg_value>", "</arg_value>", follows=(ARGUMENT, closes))
    quotes = (value, JSON_STRING)
    requires = ARGUMENT

    def untyped(self, value: str) -> Any:
        """Return the value of JSON other than a string; the template writes strings without quotes."""
        return or_json(value)

    def frame(self, name: str) -> tuple[str, str]:
        """Return the frame of one call whose arguments are one JSON object, since a schema cannot constrain tags."""
        return f"{name}\n", "\n"
