"""DeepSeek calls: a list between marks, where each call has marks before, between and after its parts."""

from __future__ import annotations

import re
from typing import Final

from intact.text.tool_calls.base import JSON_STRING, ToolCallFormat, read_arguments
from intact.text.tool_calls.calls import ParsedCall
from intact.text.tool_calls.marked import MarkScan

BEGIN: Final = "<｜tool▁call▁begin｜>"
END: Final = "<｜tool▁call▁end｜>"
BETWEEN: Final = "<｜tool▁sep｜>"
_HEAD: Final = re.compile(rf"\s*{BEGIN}(.*?){BETWEEN}", re.DOTALL)
_FENCED: Final = re.compile(r"([^\n]+)\n```json\n(.*?)\n?```\s*", re.DOTALL)


class DeepSeek(ToolCallFormat):
    """Name, mark and arguments of each call, as in V3.1.

    V3 and R1 write the word `function`, the mark, the name on a line, and the arguments in a fenced block of JSON.
    """

    name = "deepseek"
    opens = "<｜tool▁calls▁begin｜>"
    closes = "<｜tool▁calls▁end｜>"
    visible_marks = (opens, closes, BEGIN, BETWEEN, END)
    begins = (BEGIN,)

    def parse(self, text: str) -> list[ParsedCall]:
        """Parse calls up to the end of the text; anything else makes the result empty."""
        found, at = list[ParsedCall](), 0
        while match := _HEAD.match(text, at):
            scan = MarkScan(END, (JSON_STRING,), match.end())
            if not scan.advance(text, True):
                return []
            name, given = match[1], text[match.end() : scan.at - len(END)]
            if name == "function" and (fenced := _FENCED.fullmatch(given)):
                name, given = fenced[1], fenced[2]
            arguments = read_arguments(given)
            if arguments is None or not name.strip():
                return []
            found.append(ParsedCall(name.strip(), arguments))
            at = scan.at
        return [] if text[at:].strip() else found

    def frame(self, name: str) -> tuple[str, str]:
        """Return the frame of one call in the form of V3.1."""
        return f"{BEGIN}{name}{BETWEEN}", END
