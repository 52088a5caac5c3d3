"""Calls as Llama 3 writes them: `{"name": ..., "parameters": {...}}`, for which its templates ask."""

from __future__ import annotations

from intact.text.tool_calls.bare_json import BareJson


class LlamaJson(BareJson):
    """One JSON object a call; 3.1 may write `<|python_tag|>` before it, a control token not seen in the text."""

    name = "llama"
    opens = "<|python_tag|>"
    shown_by = (opens, '"parameters": dictionary of argument')  # the example of a call in templates of Llama 3

    def frame(self, name: str) -> tuple[str, str]:
        """Write one object on a line, as the templates show it."""
        return f'{{"name": "{name}", "parameters": ', "}"
