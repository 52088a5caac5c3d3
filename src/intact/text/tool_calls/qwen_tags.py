"""Qwen3-Coder and Qwen3.5 calls: `<tool_call><function=NAME><parameter=KEY>VALUE</parameter>...`."""

from __future__ import annotations

from intact.text.tool_calls.hermes import Hermes
from intact.text.tool_calls.seed import FUNCTION, Seed


class QwenTags(Seed):
    """Seed-OSS's tags between the marks of Hermes."""

    name = "qwen_tags"
    opens = Hermes.opens
    closes = Hermes.closes
    requires = FUNCTION
