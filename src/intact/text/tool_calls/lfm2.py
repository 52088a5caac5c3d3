"""LFM2 calls: `<|tool_call_start|>[f(a="x", b=3)]<|tool_call_end|>`, a list of Python calls."""

from __future__ import annotations

from typing import Final

from intact.text.tool_calls.pythonic import PythonCalls

_MARKS: Final = ("<|tool_call_start|>", "<|tool_list_start|>")


class Lfm2Calls(PythonCalls):
    """A list of Python calls between marks; templates only contain the mark of the list of tools."""

    name = "lfm2"
    opens = "<|tool_call_start|>"
    closes = "<|tool_call_end|>"
    visible_marks = (opens, closes)
    marks = _MARKS
