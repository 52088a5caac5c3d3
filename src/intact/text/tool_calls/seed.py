"""Seed-OSS calls: `<seed:tool_call><function=NAME><parameter=KEY>VALUE</parameter></function>...`."""

from __future__ import annotations

import re
from typing import Final

from intact.text.tool_calls.base import JSON_STRING, Quotes
from intact.text.tool_calls.tags import TagCalls

FUNCTION: Final = "<function="
"""The tag of a call, up to the tool's name."""


class Seed(TagCalls):
    """A tag for the function, and one for each parameter, whose value may be on separate lines."""

    name = "seed"
    opens = "<seed:tool_call>"
    closes = "</seed:tool_call>"
    begins = (FUNCTION,)
    opens_call = re.compile(rf"\s*{FUNCTION}([^<>\s]+)>\s*")
    closes_call = "</function>"
    opens_value = re.compile(r"\s*<parameter=([^<>\s]+)>")
    value = Quotes("<parameter=", "</parameter>", follows=("<parameter=", closes_call))
    quotes = (value, JSON_STRING)
    trims_lines = True

    def frame(self, name: str) -> tuple[str, str]:
        """Return the frame of one call whose arguments are one JSON object, since a schema cannot constrain tags."""
        return f"\n{FUNCTION}{name}>", "</function>\n"
