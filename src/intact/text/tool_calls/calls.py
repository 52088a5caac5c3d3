"""Tool calls as parsed from text."""

from __future__ import annotations

from typing import NamedTuple


class ParsedCall(NamedTuple):
    """A tool call: the tool's name, and its arguments as a JSON object."""

    name: str
    arguments: str
