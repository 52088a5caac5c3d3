"""Common part of the formats whose calls consist of tags, one per argument."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, ClassVar

from intact.text.tool_calls.base import JSON_STRING, Quotes, ToolCallFormat, read_arguments
from intact.text.tool_calls.calls import ParsedCall
from intact.text.tool_calls.marked import MarkScan, end_of_value
from intact.text.tool_calls.values import convert, or_null

if TYPE_CHECKING:
    from intact.text.tool_calls.signatures import Signatures


class TagCalls(ToolCallFormat):
    """Calls that consist of tags. Values are text, converted to types that the tool's schema allows."""

    opens_call: ClassVar[re.Pattern[str]]
    """The beginning of a call, including the tool's name."""
    closes_call: ClassVar[str]
    """The mark after a call; empty if the text ends there."""
    opens_value: ClassVar[re.Pattern[str]]
    """The tags before an argument's value, including its name."""
    value: ClassVar[Quotes]
    """The marks around a value."""
    trims_lines: ClassVar[bool] = False
    """If true, one line break on either side of a value does not belong to it."""

    def untyped(self, value: str) -> Any:
        """Return the value of an argument whose type the schema leaves open, as the family's parsers in vLLM do."""
        return or_null(value)

    def parse(self, text: str) -> list[ParsedCall]:
        """Parse calls without knowing the tools' schemas."""
        return self.read(text, None)

    def read(self, text: str, tools: Signatures | None) -> list[ParsedCall]:
        """Parse calls up to the end of the text, or return an empty list; a call's arguments may be one JSON object."""
        found, at = list[ParsedCall](), 0
        while match := self.opens_call.match(text, at):
            read = self._arguments(match[1], text, match.end(), tools)
            if read is None:
                return []
            arguments, at = read
            found.append(ParsedCall(match[1], arguments))
        return [] if text[at:].strip() else found

    def _arguments(self, name: str, text: str, at: int, tools: Signatures | None) -> tuple[str, int] | None:
        """Return the arguments of a call as a JSON object, and the end of the call; None if there is anything else."""
        if text[at : at + 1] == "{":
            end = len(text)
            if self.closes_call:
                scan = MarkScan(self.closes_call, (JSON_STRING,), at)
                if not scan.advance(text, True):
                    return None
                end = scan.at
            arguments = read_arguments(text[at : end - len(self.closes_call)])
            return None if arguments is None else (arguments, end)
        values: dict[str, Any] = {}
        while match := self.opens_value.match(text, at):
            end = end_of_value(text, match.end(), self.value)
            if end < 0:
                return None
            value = text[match.end() : end]
            if self.trims_lines:
                value = value.removeprefix("\n").removesuffix("\n")
            types = None if tools is None else tools.types(name, match[1])
            values[match[1]] = convert(value, types, self.untyped)
            at = end + len(self.value.closes)
        at += len(text[at:]) - len(text[at:].lstrip())
        end = at + len(self.closes_call)
        return (json.dumps(values, ensure_ascii=False), end) if text.startswith(self.closes_call, at) else None
