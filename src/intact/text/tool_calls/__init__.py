"""Tool-call formats of models: one file each, selected by the marks that a chat template contains.

Other modules: `base` (the interface, and parsing of models' JSON), `reader` (separates content and calls in a streamed
reply), `regions` (the parts of a reply that may be calls), `marked` and `blocks` (calls between marks, and calls in
other forms), `scan` (plain JSON as it arrives), `signatures` (the tools), `tags` and `pythonic` (parts shared by
formats), `values` (text to typed values).
"""

from __future__ import annotations

from intact._base.plugins import Registry
from intact.text.tool_calls.base import ToolCallFormat, read_arguments, read_calls, read_json
from intact.text.tool_calls.calls import ParsedCall
from intact.text.tool_calls.reader import CallReader
from intact.text.tool_calls.signatures import Signatures, ToolSignature

__all__ = [
    "FORMATS",
    "CallReader",
    "ParsedCall",
    "Signatures",
    "ToolCallFormat",
    "ToolSignature",
    "find_format",
    "read_arguments",
    "read_calls",
    "read_json",
]


def _name_of(value: object) -> str | None:
    """Return the name of a format, or None for other objects."""
    return vars(value).get("name") if isinstance(value, type) and issubclass(value, ToolCallFormat) else None


FORMATS: Registry[type[ToolCallFormat]] = Registry("intact.tool_calls", __name__, _name_of)
"""Formats by name, from this package's files and from other packages."""


def find_format(template: str) -> ToolCallFormat | None:
    """Return the tool-call format that a chat template uses, or None if it has no tools or an unknown format."""
    return next((form for kind in FORMATS.working().values() if (form := kind()).fits(template)), None)
