"""Mistral calls: `[TOOL_CALLS] [{"name": ..., "arguments": {...}}]`."""

from __future__ import annotations

from intact.text.tool_calls.bare_json import BareJson


class Mistral(BareJson):
    """A list of calls after a mark; if the mark is a control token, only the list appears in text."""

    name = "mistral"
    opens = "[TOOL_CALLS]"
    marks = (opens,)

    def frame(self, name: str) -> tuple[str, str]:
        """Return the frame of a list with one call."""
        return f'[{{"name": "{name}", "arguments": ', "}]"
