"""An exact calculator: arithmetic, algebra and calculus by SymPy."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Event
from typing import Any, ClassVar

from intact._base.plugins import installed
from intact._base.process import LimitReached, WorkerFailure
from intact.reason.tool import MethodTool, ToolInput, ToolResult, clean
from intact.tools import calculate


class CalculatorTool(MethodTool):
    """Evaluate an expression exactly: numbers are rational, and functions are SymPy's.

    The expression is written as in Python, where `^` may also be used for powers: ``solve(x^2 - 2, x)``, ``sum(k, k, 1,
    100)``. The evaluation cannot be stopped early, and is limited to `seconds` of CPU time.
    """

    name = "calculator"
    line = "Evaluate an expression exactly, with SymPy's functions."
    inputs: ClassVar[Mapping[str, ToolInput]] = {
        "expression": ToolInput("text", "The expression, of at most 2,000 characters."),
        "seconds": ToolInput("number", "Processor time.", 5.0),
    }
    output = "The value as SymPy writes it, or what is wrong with the expression."
    libraries: ClassVar[tuple[str, ...]] = ("sympy",)

    def environment(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Return SymPy's version."""
        return {"sympy": installed("sympy") or ""}

    def use(self, values: Mapping[str, Any], stop: Event, *, untrusted: bool = False) -> ToolResult:
        """Evaluate the expression."""
        expression = values["expression"]
        if len(expression) > calculate.LONGEST:
            return ToolResult(f"an expression may have {calculate.LONGEST:,} characters", "error")
        try:
            return ToolResult(clean(calculate.evaluate(expression, values["seconds"])), "ok")
        except WorkerFailure as error:
            return ToolResult(clean(str(error)), "error")
        except LimitReached as error:
            return ToolResult(clean(f"(it {error})"), "memory" if "memory" in str(error) else "time", False)
