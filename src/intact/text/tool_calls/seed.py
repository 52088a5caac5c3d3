"""Calls as Seed-OSS writes them: `<seed:tool_call><function=NAME><parameter=KEY>VALUE</parameter></function>...`."""

from __future__ import annotations

import re
from typing import Final

from intact.text.tool_calls.tags import TagCalls

FUNCTION: Final = "<function="
"""The tag of a call, up to the tool's name."""


class Seed(TagCalls):
    """A tag for the function, and one for each parameter, whose value may stand on lines of its own."""

    name = "seed"
    opens = "<seed:tool_call>"
    closes = "</seed:tool_call>"
    call = re.compile(rf"\s*{FUNCTION}([^<>\s]+)>(.*?)</function>", re.DOTALL)
    argument = re.compile(r"\s*<parameter=([^<>\s]+)>\n?(.*?)\n?</parameter>", re.DOTALL)

    def frame(self, name: str) -> tuple[str, str]:
        """Write one call whose arguments are one JSON object, as a schema can impose no tags."""
        return f"\n{FUNCTION}{name}>", "</function>\n"
