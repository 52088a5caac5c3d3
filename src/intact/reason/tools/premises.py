"""The statements of a proof assistant's library as a tool: those nearest to a goal."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Event
from typing import Any, ClassVar

from intact.errors import NotInstalledError
from intact.prove.assistants import ASSISTANTS, find_assistant
from intact.prove.assistants.base import AssistantLimits
from intact.prove.premises import nearest
from intact.reason.tool import LONGEST_OUTPUT, MethodTool, ToolInput, ToolResult, clean
from intact.tools.sandbox import choose


class PremisesTool(MethodTool):
    """Find the statements that may help with a goal among all that a proof may use (docs/proving.md)."""

    name = "premises"
    line = "Find the statements of a proof assistant's library that are nearest to a goal."
    inputs: ClassVar[Mapping[str, ToolInput]] = {
        "statement": ToolInput("text", "The text before the proof, the theorem's last."),
        "goals": ToolInput("text", "What is left to prove."),
        "most": ToolInput("number", "How many statements, at most.", 8.0),
        "assistant": ToolInput("text", f"Which assistant: {', '.join(ASSISTANTS)}.", "rocq"),
        "seconds": ToolInput("number", "Wall time of an assistant that is a process.", 30.0),
    }
    output = "A line for each statement, the nearest first: its name, a colon, and what it states."

    def environment(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Return the version of the assistant."""
        name = str(values.get("assistant", "rocq"))
        return {name: ASSISTANTS[name].version()} if name in ASSISTANTS else {}

    def check(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the inputs; the assistant is looked up."""
        found = super().check(values)
        find_assistant(found["assistant"])
        return found

    def use(self, values: Mapping[str, Any], stop: Event, *, untrusted: bool = False) -> ToolResult:
        """List the statements, and rank them; whole lines only, as many as the bound of outputs lets through."""
        assistant = find_assistant(values["assistant"])
        if (reason := assistant.missing()) is not None:
            raise NotInstalledError(reason)
        if assistant.is_process:
            choose(untrusted=untrusted)  # raises where nothing keeps it in
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
