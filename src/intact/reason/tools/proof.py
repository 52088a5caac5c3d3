"""The proof assistants of `intact.tools.prove.assistants` as a tool."""

from __future__ import annotations

import re
from collections.abc import Mapping
from threading import Event
from typing import Any, ClassVar, Final

from intact._base.errors import NotInstalledError
from intact.reason.tool import MethodTool, ToolInput, ToolResult, clean
from intact.tools.prove.assistants import ASSISTANTS, find_assistant
from intact.tools.prove.assistants.base import Assistant, AssistantLimits, ProofState
from intact.tools.sandbox import choose

_CLOCK: Final = re.compile(r"\btimeout\b")
"""A tactic with its own time limit."""


class AssistantTool(MethodTool):
    """Base class of tools that use an assistant: selects it, reports its version, and checks that it is installed."""

    assistant_inputs: ClassVar[Mapping[str, ToolInput]] = {
        "assistant": ToolInput("text", f"Which assistant: {', '.join(ASSISTANTS)}.", "rocq"),
        "seconds": ToolInput("number", "Wall time of an assistant that is a process.", 30.0),
    }

    def environment(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Return the version of the assistant."""
        name = str(values.get("assistant", "rocq"))
        return {name: ASSISTANTS[name].version()} if name in ASSISTANTS else {}

    def check(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the inputs, after checking that the assistant exists."""
        found = super().check(values)
        find_assistant(found["assistant"])
        return found

    @staticmethod
    def assistant(values: Mapping[str, Any], *, untrusted: bool) -> Assistant:
        """Return the assistant named by the inputs.

        Raises
        ------
        NotInstalledError
            If the assistant is not installed, or it runs as a process and no sandbox is available.
        """
        found = find_assistant(values["assistant"])
        if (reason := found.missing()) is not None:
            raise NotInstalledError(reason)
        if found.is_process:
            choose(untrusted=untrusted)  # raises if no sandbox is available
        return found


class ProofTool(AssistantTool):
    """Try the steps of a proof of a statement in a proof assistant, and report the outcome (docs/proving.md).

    Each call replays the proof from the beginning in a new process, so that a result depends only on the texts, except
    for time limits.
    """

    name = "proof"
    line = "Try the steps of a proof in a proof assistant."
    inputs: ClassVar[Mapping[str, ToolInput]] = {
        "statement": ToolInput("text", "The text before the proof, the theorem's last."),
        "steps": ToolInput("texts", "The steps of the proof, the first first.", []),
        **AssistantTool.assistant_inputs,
    }
    output = "A line such as open, proved or error 3 (a step that fails), then what is left to prove or the message."

    def use(self, values: Mapping[str, Any], stop: Event, *, untrusted: bool = False) -> ToolResult:
        """Run the assistant."""
        assistant = self.assistant(values, untrusted=untrusted)
        steps = tuple(values["steps"])
        state = assistant.run(values["statement"], steps, AssistantLimits(values["seconds"]), stop)
        text = clean(show(state))
        if state.kind == "limit":
            return ToolResult(text, "time", False)
        return ToolResult(text, "error" if state.kind == "error" else "ok", not any(map(_CLOCK.search, steps)))


def show(state: ProofState) -> str:
    """Format a state as text: its kind and the number of any failed step on the first line, then further details."""
    first = state.kind if state.failed is None else f"{state.kind} {state.failed + 1}"
    more = "\n\n".join(state.goals) if state.kind == "open" else state.message
    return f"{first}\n{more}".rstrip("\n")
