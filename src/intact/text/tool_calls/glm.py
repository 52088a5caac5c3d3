"""Calls as GLM-4.5 to 4.7 write them: `<tool_call>NAME<arg_key>KEY</arg_key><arg_value>VALUE</arg_value>...`."""

from __future__ import annotations

import re
from typing import Final

from intact.text.tool_calls.tags import TagCalls

ARGUMENT: Final = "<arg_key>"
"""The tag of an argument's name."""


class GlmTags(TagCalls):
    """The tool's name, and for each argument a tag with its name and one with its value."""

    name = "glm"
    opens = "<tool_call>"
    closes = "</tool_call>"
    call = re.compile(r"\s*([^<>{}\s]+)(\s*(?:<arg_key>|\{).*|\s*)\Z", re.DOTALL)
    argument = re.compile(r"\s*<arg_key>([^<>]+)</arg_key>\s*<arg_value>(.*?)</arg_value>", re.DOTALL)

    def fits(self, template: str) -> bool:
        """Fit templates that show an argument's name as a tag."""
        return super().fits(template) and ARGUMENT in template

    def frame(self, name: str) -> tuple[str, str]:
        """Write one call whose arguments are one JSON object, as a schema can impose no tags."""
        return f"{name}\n", "\n"
