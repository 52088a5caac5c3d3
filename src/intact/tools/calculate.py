"""Exact calculation and algebra with SymPy, in a worker process."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from intact._base.packages import check_installed
from intact._base.process import WorkerProcess

PROGRAM: Final = Path(__file__).with_name("calculate_worker.py")
MEMORY: Final = 1 << 30
"""Size of the worker's address space, in bytes."""
LONGEST: Final = 2000
"""Maximum number of characters in an expression."""

_worker: Final = WorkerProcess(PROGRAM, "sympy", seconds=5.0, memory=MEMORY, reply=1 << 20)


def evaluate(expression: str, seconds: float) -> str:
    """Return the value of an expression as SymPy prints it; `seconds` limits CPU time.

    Raises
    ------
    LimitReached, WorkerFailure If the evaluation takes too much time or memory; if the input is not an expression, or
    has no value. NotInstalledError
        If SymPy is not installed.
    """
    check_installed("the calculator", "sympy")
    return str(_worker.ask("evaluate", expression, seconds=seconds))
