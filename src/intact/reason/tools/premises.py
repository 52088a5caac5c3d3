"""A tool that finds statements close to a goal in a proof assistant's library."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Event
from typing import Any, ClassVar

from intact.reason.tool import LONGEST_OUTPUT, ToolInput, ToolResult, clean
from intact.reason.tools.proof import AssistantTool
from intact.tools.prove.assistants.base import AssistantLimits
from intact.tools.prove.premises import nearest


class PremisesTool(AssistantTool):
    """Find statements that may help with a goal, among all that a proof may use (docs/proving.md)."""

    name = "premises"
    line = "Find the statements of a proof assistant's library that are nearest to a goal."
    inputs: ClassVar[Mapping[str, ToolInput]] = {
        "statement": ToolInput("text", "The text before the proof, the theorem's last."),
        "goals": ToolInput("text", "What is left to prove."),
        "most": ToolInput("number", "How many statements, at most.", 8.0),
        **AssistantTool.assistant_inputs,
    }
    output = "A line for each statement, the nearest first: its name, a colon, and what it states."

    def use(self, values: Mapping[str, Any], stop: Event, *, untrusted: bool = False) -> ToolResult:
        """List and rank the statements; return as many complete lines as the output limit allows."""
        assistant = self.assistant(values, untrusted=untrusted)
        known = assistant.known(values["statement"], AssistantLimits(values["seconds"]), stop)
        if known.limit:
            return ToolResult(clean(known.limit), "time", False)
        lines, left = list[str](), LONGEST_OUTPUT
        for line in map(clean, nearest(known.statements, values["goals"], int(values["most"]))):
            left -= len(line) + 1
            if left < 0:
                break
            lines.append(line)
        return ToolResult("\n".join(lines), "ok")
