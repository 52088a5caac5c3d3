"""What judging gives up because a worker process reached a limit: elsewhere there might have been an answer.

Time is counted on the processor, so that a busy machine gives the same verdict as an idle one. A slower one may give up
where another does not: whoever must know listens (`noting`). A count of steps would not be better here: libraries
cache, so that it depends on what was asked before, and one step may be a power that takes hours.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, Final

from intact.process import LimitReached, WorkerFailure, WorkerProcess

SECONDS: Final = 5
MEMORY: Final = 4 << 30
FILES: Final = {"NOFILE": 64}
"""Limits of workers that judge."""
GIVEN_UP: Final = object()
"""What stands for a reply that took too much time or memory: elsewhere there might be one."""

_listening: ContextVar[list[str] | None] = ContextVar("listening", default=None)


def ask(worker: WorkerProcess, name: str, *arguments: Any) -> Any:
    """Return a worker's reply; None where it raised an exception, and `GIVEN_UP` where it reached a limit.

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
        return GIVEN_UP


@contextlib.contextmanager
def noting() -> Iterator[list[str]]:
    """Note the texts that are given up in the block, by this thread."""
    given_up: list[str] = []
    token = _listening.set(given_up)
    try:
        yield given_up
    finally:
        _listening.reset(token)


def note(*texts: str) -> None:
    """Tell whoever listens that texts were given up."""
    listening = _listening.get()
    if listening is not None:
        listening += texts
