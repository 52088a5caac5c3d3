"""Calls as Mistral writes them: `[TOOL_CALLS] [{"name": ..., "arguments": {...}}]`."""

from __future__ import annotations

from intact.text.tool_calls.bare_json import BareJson


class Mistral(BareJson):
    """A list of calls behind a mark; where the mark is a control token, only the list is in the text."""

    name = "mistral"
    opens = "[TOOL_CALLS]"
    shown_by = (opens,)

    def frame(self, name: str) -> tuple[str, str]:
        """Write a list of one call."""
        return f'[{{"name": "{name}", "arguments": ', "}]"
