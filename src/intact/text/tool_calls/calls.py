"""Calls of tools, as they are read from a text."""

from __future__ import annotations

from typing import NamedTuple


class ParsedCall(NamedTuple):
    """A call of a tool: the tool's name, and its arguments as a JSON object."""

    name: str
    arguments: str
