"""Computer algebra (math-verify), in a worker process."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from intact.process import WorkerProcess
from intact.score.child import FILES, GIVEN_UP, MEMORY, SECONDS, ask, note

VERSION: Final = 1
"""Of how expressions are written, and which are equal; raise it when that changes (`intact.runs.versions`)."""

LONGEST = 2000
"""Characters beyond which nobody tries to understand an expression."""

PROGRAM = Path(__file__).with_name("symbolic_worker.py")

_algebra = WorkerProcess(PROGRAM, "math_verify", "score", seconds=SECONDS, memory=MEMORY, limits=FILES)


@lru_cache(maxsize=8192)
def _once(name: str, *arguments: str) -> Any:
    return ask(_algebra, name, *arguments)


def _ask(name: str, *expressions: str) -> Any:
    """Return the child's reply, or None where there is none; whoever listens hears of what was given up."""
    if max(map(len, expressions)) > LONGEST:
        return None
    reply = _once(name, *expressions)
    if reply is not GIVEN_UP:
        return reply
    note(*expressions)
    return None


def canonical(latex: str) -> str | None:
    """Return an expression as SymPy evaluates, orders and writes it; None if it is none, or given up (`noting`)."""
    found = _ask("canonical", latex)
    return found if isinstance(found, str) else None


def equal(right: str, given: str) -> bool:
    """Return whether two expressions mean the same; not, if that is given up (`noting`)."""
    return _ask("equal", right, given) is True
