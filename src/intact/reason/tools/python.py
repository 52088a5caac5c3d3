"""The Python interpreter, with the state left by a session's earlier cells."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from threading import Event
from typing import Any, ClassVar

from intact.reason.tool import ENDINGS, MethodTool, ToolInput, ToolResult, clean
from intact.tools import sandbox
from intact.tools.sandbox import Outcome, ProgramLimits


class PythonTool(MethodTool):
    """Run a Python cell in the sandbox, after the earlier cells of its session.

    A session is not a persistent process: the earlier cells are rerun before the new one, silently and regardless of
    what they raise, so that a result is a function of the texts only. The limits apply to all cells together.
    """

    name = "python"
    line = "Run a cell of Python behind the earlier cells of its session."
    inputs: ClassVar[Mapping[str, ToolInput]] = {
        "code": ToolInput("text", "The cell."),
        "before": ToolInput("texts", "The earlier cells, the first first.", []),
        "seconds": ToolInput("number", "Wall time for all cells; they may take a million steps in each second.", 10.0),
    }
    output = "What the cell prints, the value of a last expression, and the last line of an error."
    uses = ("programs",)

    def environment(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Return the interpreter's version and the kind of protection."""
        return {"python": platform.python_version(), "protection": sandbox.protection().kind}

    def use(self, values: Mapping[str, Any], stop: Event, *, untrusted: bool = False) -> ToolResult:
        """Run the cell."""
        cells, limits = [*values["before"], values["code"]], ProgramLimits.of(values["seconds"])
        outcome = sandbox.run_cells(cells, limits, stop=stop, untrusted=untrusted)
        return ToolResult(clean(cell_text(outcome)), outcome.ended, outcome.settled)


def cell_text(outcome: Outcome) -> str:
    """Return the output of a cell, with the reason on the last line if the cell did not finish."""
    if outcome.ok:
        return outcome.stdout
    lines = outcome.stderr.strip().splitlines() or [f"exit status {outcome.status}"]
    reason = lines[-1] if outcome.ended == "error" else f"({ENDINGS[outcome.ended]})"
    return "\n".join(filter(None, [outcome.stdout.rstrip("\n"), reason]))
