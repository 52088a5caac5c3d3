"""A process of its own for work on texts that nobody vouches for: one may take forever or all memory, we must not.

Time is counted on the processor, so that a busy machine gives the same verdict as an idle one. A slower one may give up
where another does not: whoever must know listens (`noting`).
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any, Final

from intact.errors import ParameterError, install

SECONDS = 5
MEMORY = 4 << 30
ENVIRONMENT: Final = {
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONHASHSEED": "0",  # the order of sets, which libraries' results depend on
    "OPENBLAS_NUM_THREADS": "1",  # threads take address space
}
"""The child's environment, besides where the system's libraries lie (`_LIBRARIES`)."""
_LIBRARIES: Final = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
GIVEN_UP: Final = object()
"""What stands for a reply that took too much time or memory: elsewhere there might be one."""

_listening: ContextVar[list[str] | None] = ContextVar("listening", default=None)


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


class Child:
    """A process that answers one question at a time; it is started when needed, and again after one killed it.

    Parameters
    ----------
    work
        What it does and with what, as `worker.py` has it: ``("algebra",)`` or ``("gym",)``.
    package, extra
        What that needs, and the extra of this package that installs it.
    seconds, memory
        Processor time for a question, and bytes of address space.
    """

    def __init__(
        self, work: tuple[str, ...], package: str, extra: str, seconds: int = SECONDS, memory: int = MEMORY
    ) -> None:
        self.work, self.package, self.extra = work, package, extra
        self.seconds, self.memory = seconds, memory
        self.started = 0
        self._lock = Lock()
        self._process: subprocess.Popen[str] | None = None

    def ask(self, name: str, *arguments: Any, seconds: int | None = None) -> Any:
        """Return the child's reply, or `GIVEN_UP` where it died of the question.

        Parameters
        ----------
        name, arguments
            The worker's function, and what it is called with.
        seconds
            Processor time; by default that of the child.

        Raises
        ------
        ParameterError
            If what it needs is not installed, or does not start.
        """
        with self._lock:
            process = self._process or self._start()
            assert process.stdin is not None
            assert process.stdout is not None
            reply = ""
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps([name, arguments, seconds or self.seconds]) + "\n")
                process.stdin.flush()
                reply = process.stdout.readline()
            if not reply:
                self.end()
                return GIVEN_UP
            return json.loads(reply)

    def _start(self) -> subprocess.Popen[str]:
        name = self.package.replace("_", "-")
        if find_spec(self.package) is None:
            raise ParameterError(f"this needs {name}: {install(self.extra)}")
        source = Path(__file__).with_name("worker.py").read_text("utf-8")
        folders = os.pathsep.join(path for path in sys.path if path)
        flags = ["-P", "-s", "-S", "-B", "-X", "utf8"]  # not -I, which ignores the fixed hash seed
        command = [sys.executable, *flags, "-c", source, folders, str(self.memory), *self.work]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            env={**ENVIRONMENT, **{name: os.environ[name] for name in _LIBRARIES if name in os.environ}},
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            self.end()
            raise ParameterError(f"{name} is installed but does not start: try python -c 'import {self.package}'")
        self.started += 1
        return self._process

    def end(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with contextlib.suppress(BrokenPipeError):
                process.communicate()
