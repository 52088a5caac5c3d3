"""Calls as OLMo 3 writes them: `<function_calls>`, a call of Python on each line, `</function_calls>`."""

from __future__ import annotations

from intact.text.tool_calls.pythonic import PythonCalls


class OlmoCalls(PythonCalls):
    """A call a line."""

    name = "olmo"
    opens = "<function_calls>"
    closes = "</function_calls>"
