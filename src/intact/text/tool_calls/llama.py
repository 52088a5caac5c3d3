"""Llama 3 calls: `{"name": ..., "parameters": {...}}`, as its templates request."""

from __future__ import annotations

from intact.text.tool_calls.bare_json import BareJson


class LlamaJson(BareJson):
    """One JSON object per call; 3.1 may write `<|python_tag|>` before it, a control token omitted from text."""

    name = "llama"
    opens = "<|python_tag|>"
    marks = (opens, '"parameters": dictionary of argument')  # the example of a call in templates of Llama 3

    def frame(self, name: str) -> tuple[str, str]:
        """Return the frame of one object on one line, as in the templates."""
        return f'{{"name": "{name}", "parameters": ', "}"
