"""Calls as Llama 3 writes them: `{"name": ..., "parameters": {...}}`, for which its templates ask."""

from __future__ import annotations

from intact.text.tool_calls.bare_json import BareJson


class LlamaJson(BareJson):
    """One JSON object a call; 3.1 may write `<|python_tag|>` before it, a control token not seen in the text."""

    name = "llama"
    opens = "<|python_tag|>"

    def fits(self, template: str) -> bool:
        """Fit templates with the mark, or with the example of a call that those of Llama 3 show."""
        return "tools" in template and (self.opens in template or '"parameters": dictionary of argument' in template)

    def frame(self, name: str) -> tuple[str, str]:
        """Write one object on a line, as the templates show it."""
        return f'{{"name": "{name}", "parameters": ', "}"
