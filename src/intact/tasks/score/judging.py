"""Requests to the worker processes that judge, and a note of every text on which one reached a limit.

Time is counted on the processor, so that a busy machine gives the same verdict as an idle one. A slower one may reach a
limit where another does not: callers that must know use `noting`. A count of steps would not be better here: libraries
cache, so that it depends on earlier requests, and one step may be a power that takes hours.
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
"""Limits of workers that judge."""
LIMIT_REACHED: Final = object()
"""Returned instead of a reply that took too much time or memory; another machine might have one."""

_listening: ContextVar[list[str] | None] = ContextVar("listening", default=None)


def ask(worker: WorkerProcess, name: str, *arguments: Any) -> Any:
    """Return a worker's reply; None where it raised an exception, and `LIMIT_REACHED` where it reached a limit.

    Raises
    ------
    ParameterError
        If what the worker needs is not installed, or does not start.
    """
    try:
        return worker.ask(name, *arguments)
    except WorkerFailure:
        return None
    except LimitReached:
        return LIMIT_REACHED


@contextlib.contextmanager
def noting() -> Iterator[list[str]]:
    """Yield a list of the texts on which a worker reaches a limit in the block, in this thread."""
    texts: list[str] = []
    token = _listening.set(texts)
    try:
        yield texts
    finally:
        _listening.reset(token)


def note(*texts: str) -> None:
    """Add texts to the list of the `noting` block around this call, if there is one."""
    listening = _listening.get()
    if listening is not None:
        listening += texts
