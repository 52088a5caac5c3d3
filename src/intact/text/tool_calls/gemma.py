"""Gemma 4 calls: `<|tool_call>call:NAME{key:<|"|>text<|"|>,other:3}<tool_call|>`."""

from __future__ import annotations

import json
import re
from typing import Final

from intact.text.tool_calls.base import JSON_STRING, Quotes, ToolCallFormat, read_arguments
from intact.text.tool_calls.calls import ParsedCall

QUOTE: Final = '<|"|>'
"""The mark on both sides of a string, within which nothing is escaped."""
_CALL: Final = re.compile(r"\s*call:\s*([^\s{}]+)\s*(\{.*\})\s*\Z", re.DOTALL)
_BARE: Final = re.compile(r'("(?:[^"\\]|\\.)*")|([^\s{}\[\],:"][^{}\[\],:"]*?)(?=\s*:)')
"""A JSON string, which is left unchanged, or a key without quotes."""


class GemmaCalls(ToolCallFormat):
    """Keys without quotes, strings between special marks; numbers, lists and objects as in JSON."""

    name = "gemma"
    opens = "<|tool_call>"
    closes = "<tool_call|>"
    visible_marks = (opens, closes, QUOTE)
    begins = ("call:",)
    quotes = (Quotes(QUOTE, QUOTE), JSON_STRING)

    def parse(self, text: str) -> list[ParsedCall]:
        """Parse one call; the arguments may also be plain JSON."""
        match = _CALL.match(text)
        arguments = None if match is None else read_arguments(_as_json(match[2]))
        return [] if match is None or arguments is None else [ParsedCall(match[1], arguments)]

    def frame(self, name: str) -> tuple[str, str]:
        """Return the frame of one call whose arguments are plain JSON, which a schema can constrain."""
        return f"call:{name}", ""


def _as_json(text: str) -> str:
    """Return arguments with JSON quotes."""
    parts = text.split(QUOTE)
    plain = (_BARE.sub(lambda found: found[1] or json.dumps(found[2]), part) for part in parts[::2])
    strings = (json.dumps(part, ensure_ascii=False) for part in parts[1::2])
    return next(plain) + "".join(string + rest for string, rest in zip(strings, plain, strict=False))
