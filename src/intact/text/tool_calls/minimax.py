"""MiniMax M2 calls: `<minimax:tool_call><invoke name="NAME"><parameter name="KEY">VALUE...`."""

from __future__ import annotations

import re

from intact.text.tool_calls.base import JSON_STRING, Quotes
from intact.text.tool_calls.tags import TagCalls


class MiniMax(TagCalls):
    """A tag for the function, and one for each parameter."""

    name = "minimax"
    opens = "<minimax:tool_call>"
    closes = "</minimax:tool_call>"
    begins = ("<invoke name=",)
    opens_call = re.compile(r'\s*<invoke name="([^<>"\s]+)">\s*')
    closes_call = "</invoke>"
    opens_value = re.compile(r'\s*<parameter name="([^<>"]+)">')
    value = Quotes("<parameter name=", "</parameter>", follows=("<parameter name=", closes_call))
    quotes = (value, JSON_STRING)

    def frame(self, name: str) -> tuple[str, str]:
        """Return the frame of one call whose arguments are one JSON object, since a schema cannot constrain tags."""
        return f'\n<invoke name="{name}">', "</invoke>\n"
