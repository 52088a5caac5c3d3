"""Send requests to the worker processes that judge answers, and record the inputs on which a worker reached a limit.

Limits count CPU time, so a busy machine gives the same verdict as an idle one. A slower machine may still reach a limit
that a faster one does not; callers that need to know use `noting`. Counting steps would not help: libraries cache, so
the count depends on earlier requests, and one step may be a power that takes hours.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, Final

from intact._base.process import LimitReached, WorkerFailure, WorkerProcess

SECONDS: Final = 5
MEMORY: Final = 4 << 30
FILES: Final = {"NOFILE": 64}
"""Limits of judging workers: CPU seconds, memory in bytes, and open files."""
LIMIT_REACHED: Final = object()
"""Returned instead of a reply that took too much time or memory; another machine might complete it."""

_listening: ContextVar[list[str] | None] = ContextVar("listening", default=None)


def ask(worker: WorkerProcess, name: str, *arguments: Any) -> Any:
    """Return a worker's reply; None if it raised an exception, `LIMIT_REACHED` if it reached a limit.

    Raises
    ------
    ParameterError
        If a package that the worker needs is missing, or the worker does not start.
    """
    try:
        return worker.ask(name, *arguments)
    except WorkerFailure:
        return None
    except LimitReached:
        return LIMIT_REACHED


@contextlib.contextmanager
def noting() -> Iterator[list[str]]:
    """Yield a list that collects the inputs on which a worker reaches a limit within the block in this thread."""
    texts: list[str] = []
    token = _listening.set(texts)
    try:
        yield texts
    finally:
        _listening.reset(token)


def note(*texts: str) -> None:
    """Add inputs to the list of the enclosing `noting` block, if there is one."""
    listening = _listening.get()
    if listening is not None:
        listening += texts
