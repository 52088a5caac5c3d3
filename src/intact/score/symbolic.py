"""Computer algebra (math-verify) in a process of its own: an expression may take forever or all memory, we must not.

Time is counted on the processor, so that a busy machine gives the same verdict as an idle one. A slower one may give up
where another does not: whoever must know listens (`noting`).
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any, Final

from intact.errors import ParameterError, install

SECONDS = 5
MEMORY = 4 << 30
LONGEST = 2000
"""Characters beyond which nobody tries to understand an expression."""
GIVEN_UP: Final = object()
"""What stands for a reply that took too much time or memory: elsewhere there might be one."""


class Algebra:
    """A child that answers one question at a time; it is started when needed, and again after one killed it."""

    def __init__(self, seconds: int = SECONDS, memory: int = MEMORY) -> None:
        self.seconds = seconds
        self.memory = memory
        self.started = 0
        self._lock = Lock()
        self._child: subprocess.Popen[str] | None = None

    def ask(self, name: str, *arguments: str) -> Any:
        """Return the child's reply, or `GIVEN_UP` where it died of the question."""
        with self._lock:
            child = self._child or self._start()
            assert child.stdin is not None
            assert child.stdout is not None
            reply = ""
            with contextlib.suppress(BrokenPipeError):
                child.stdin.write(json.dumps([name, arguments]) + "\n")
                child.stdin.flush()
                reply = child.stdout.readline()
            if not reply:
                self._end()
                return GIVEN_UP
            return json.loads(reply)

    def _start(self) -> subprocess.Popen[str]:
        if find_spec("math_verify") is None:
            raise ParameterError(f"answers that are expressions need math-verify: {install('score')}")
        source = Path(__file__).with_name("worker.py").read_text("utf-8")
        command = [sys.executable, "-P", "-c", source, str(self.seconds), str(self.memory)]
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8"
        )
        assert self._child.stdout is not None
        if self._child.stdout.readline() != "ready\n":
            self._end()
            raise ParameterError("math-verify is installed but does not start: try python -c 'import math_verify'")
        self.started += 1
        return self._child

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            with contextlib.suppress(BrokenPipeError):
                child.communicate()


_algebra = Algebra()
_listening: ContextVar[list[str] | None] = ContextVar("listening", default=None)


@contextlib.contextmanager
def noting() -> Iterator[list[str]]:
    """Note the expressions that are given up in the block, by this thread."""
    given_up: list[str] = []
    token = _listening.set(given_up)
    try:
        yield given_up
    finally:
        _listening.reset(token)


@lru_cache(maxsize=8192)
def _once(name: str, *arguments: str) -> Any:
    return _algebra.ask(name, *arguments)


def _ask(name: str, *expressions: str) -> Any:
    """Return the child's reply, or None where there is none; whoever listens hears of what was given up."""
    if max(map(len, expressions)) > LONGEST:
        return None
    reply = _once(name, *expressions)
    if reply is not GIVEN_UP:
        return reply
    listening = _listening.get()
    if listening is not None:
        listening += expressions
    return None


def canonical(latex: str) -> str | None:
    """Return an expression as SymPy evaluates, orders and writes it; None if it is none, or given up (`noting`)."""
    found = _ask("canonical", latex)
    return found if isinstance(found, str) else None


def equal(right: str, given: str) -> bool:
    """Return whether two expressions mean the same; not, if that is given up after `SECONDS` (`noting`)."""
    return _ask("equal", right, given) is True
