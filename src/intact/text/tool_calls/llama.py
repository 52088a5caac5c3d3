"""Llama 3 calls: `{"name": ..., "parameters": {...}}`, as its templates request."""

from __future__ import annotations

from intact.text.tool_calls.bare_json import BareJson


class LlamaJson(BareJson):
    """One JSON object per call; 3.1 may write `<|python_tag|>` before it, a control token omitted from text."""

    name = "llama"
    opens = "<|python_tag|>"

    def fits(self, template: str) -> bool:
        """Match templates with the mark, or with the example of a call in Llama 3's templates."""
        return "tools" in template and (self.opens in template or '"parameters": dictionary of argument' in template)

    def frame(self, name: str) -> tuple[str, str]:
        """Return the frame of one object on one line, as in the templates."""
        return f'{{"name": "{name}", "parameters": ', "}"
