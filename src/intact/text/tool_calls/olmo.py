"""OLMo 3 calls: `<function_calls>`, one Python call per line, `</function_calls>`."""

from __future__ import annotations

from intact.text.tool_calls.pythonic import PythonCalls


class OlmoCalls(PythonCalls):
    """One Python call per line."""

    name = "olmo"
    opens = "<function_calls>"
    closes = "</function_calls>"
