"""A process for work on untrusted input, which may run forever or exhaust memory without harming the parent."""

from __future__ import annotations

import contextlib
import json
import marshal
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Final

from intact._base import system
from intact._base.errors import CapacityError, ParameterError
from intact._base.packages import check_installed
from intact._base.process.loop import LENGTH

ENVIRONMENT: Final = {
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONHASHSEED": "0",  # the order of sets, which libraries' results depend on
    "OPENBLAS_NUM_THREADS": "1",  # threads take address space
}
"""Environment of a worker, apart from the paths of the system's libraries."""
_LIBRARIES: Final = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_FLAGS: Final = ("-P", "-s", "-S", "-B", "-X", "utf8")  # not -I, which ignores the fixed hash seed
_STARTING: Final = 300.0
"""Timeout for starting a worker, in seconds; generous, for busy machines."""
_PIECE: Final = 1 << 20
_SLOW: Final = "exceeded the wall-clock timeout"


class LimitReached(Exception):  # noqa: N818
    """A request exceeded a limit on time, memory or length, or killed the worker; the message says which limit."""


class TimedOut(LimitReached):
    """A request exceeded its wall-clock timeout; on a less busy machine it may succeed."""


class WorkerFailure(Exception):  # noqa: N818
    """The worker's function raised an exception; the message quotes it."""


class WorkerProcess:
    """A process that answers one request at a time, started when needed, and restarted if a request ended it.

    Threads may call it concurrently. A forked process starts its own worker. A worker ends with its parent.

    Parameters
    ----------
    program : Path
        A Python file whose function `start` returns the functions to call, by name. Only the worker loads it.
    package : str
        The package that the program imports; the error names it if it is not installed.
    seconds : float
        CPU time limit per request.
    memory : int
        Address space limit in bytes.
    reply : int
        Maximum size of a reply in bytes.
    limits : mapping of str to int
        Further limits, by their names in `resource` without `RLIMIT_`; in effect as of the first request.

    Attributes
    ----------
    started : int
        Number of processes started so far.
    """

    def __init__(
        self,
        program: Path,
        package: str,
        *,
        seconds: float,
        memory: int,
        reply: int = 1 << 24,
        limits: Mapping[str, int] | None = None,
    ) -> None:
        self.program, self.package = program, package
        self.seconds, self.memory, self.reply = seconds, memory, reply
        self.limits = {"CORE": 0, "FSIZE": 0, "NPROC": 0, **(limits or {})}
        self.started = 0
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = False
        self._finalizer: weakref.finalize[..., Any] | None = None
        _workers.add(self)

    def prepare(self) -> None:
        """Start the process if it is not running, without waiting for it.

        Raises
        ------
        ParameterError
            If a required package is not installed.
        CapacityError
            If no process can be started.
        """
        with self._lock:
            self._running()

    def ask(self, name: str, *arguments: Any, seconds: float | None = None, reply: int | None = None) -> Any:
        """Call a function of the worker, and return its result as a JSON value.

        Parameters
        ----------
        name, arguments
            The function, and its arguments: Python's own types, as `marshal` writes them.
        seconds, reply
            Limits of this request, in place of the worker's.

        Raises
        ------
        LimitReached
            If the request exceeds a limit, or ends the process.
        WorkerFailure
            If the function raises an exception, or its reply is too long.
        ParameterError
            If a package that the worker needs is not installed, or does not start.
        CapacityError
            If no process can be started.
        """
        seconds, reply = seconds or self.seconds, reply or self.reply
        request = marshal.dumps((name, arguments, seconds, reply))
        with self._lock:
            try:
                process = self._running()
                self._await_start(process)
                deadline = time.monotonic() + _patience(seconds)
                with system.watch(process, deadline):
                    _send(process, request, deadline)
                    status, *rest = _receive(process, reply, deadline)
            except _Ended:
                reason = self._reason(seconds)
                if time.monotonic() >= deadline:
                    raise TimedOut(_SLOW) from None
                raise LimitReached(reason) from None
            except BaseException:
                self._end()
                raise
            if status == "memory":
                self._end()
                raise LimitReached(f"used more than {self.memory >> 20:,} MB of memory")
        if status == "error":
            raise WorkerFailure(rest[0])
        return rest[0]

    def end(self) -> None:
        """End the process, if it is running."""
        with self._lock:
            self._end()

    def forget(self) -> None:
        """Leave the process to the parent that started it; this process is a fork of that parent."""
        self._lock = Lock()
        process, self._process = self._process, None
        if process is not None:
            if self._finalizer is not None:
                self._finalizer.detach()
            process.returncode = 0  # its parent reaps it
            _close(process)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self._end()  # it was ended from outside, between requests
        if self._process is None:
            self._process = self._start()
        return self._process

    def _start(self) -> subprocess.Popen[bytes]:
        check_installed("this", self.package)
        loop = Path(__file__).with_name("loop.py").absolute()
        try:
            process = subprocess.Popen(
                [sys.executable, *_FLAGS, str(loop)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env={**ENVIRONMENT, **{name: os.environ[name] for name in _LIBRARIES if name in os.environ}},
                cwd="/",
                start_new_session=True,  # only the parent handles Ctrl-C
            )
        except OSError as error:
            raise CapacityError(f"cannot start a process: {error.strerror}") from error
        self.started += 1
        self._ready = False
        self._finalizer = weakref.finalize(self, _kill, process)
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            system.prepare_pipe(stream.fileno())
        folders = [str(Path(folder).absolute()) for folder in sys.path if folder]
        first = (str(self.program.absolute()), folders, {"AS": self.memory, **self.limits})
        with contextlib.suppress(_Ended):  # the first request reports it
            _send(process, marshal.dumps(first), time.monotonic() + _STARTING)
        return process

    def _await_start(self, process: subprocess.Popen[bytes]) -> None:
        if self._ready:
            return
        problem = ""
        try:
            deadline = time.monotonic() + _STARTING
            with system.watch(process, deadline):
                status, *rest = _receive(process, 1 << 20, deadline)
            problem = rest[0] if status == "error" else ""
        except _Ended:
            status = "ended"
        if status != "done":
            self._end()
            hint = f": {problem:.200}" if problem else f": try python -c 'import {self.package}'"
            raise ParameterError(f"{self.package.replace('_', '-')} is installed but does not start{hint}")
        self._ready = True

    def _reason(self, seconds: float) -> str:
        """Describe how the process ended, and drop it."""
        assert self._process is not None
        try:
            status = self._process.wait(5)
        except subprocess.TimeoutExpired:
            status = 0
        self._end()
        if status < 0:
            name = signal.Signals(-status).name
            limit = name in ("SIGPROF", "SIGXCPU")
            return f"took more than {seconds:g} s" if limit else f"crashed its worker process with {name}"
        return "ended its worker process"

    def _end(self) -> None:
        self._process = None
        if self._finalizer is not None:
            self._finalizer()


_workers: weakref.WeakSet[WorkerProcess] = weakref.WeakSet()


def _forget_all() -> None:
    for worker in _workers:
        worker.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


class _Ended(Exception):  # noqa: N818
    """Raised when the process no longer reads or writes."""


def _patience(seconds: float) -> float:
    """Return the wall-clock timeout for a CPU time limit, generous enough for a busy machine."""
    return 60 + 20 * seconds


def _wait(file: int, deadline: float, *, write: bool = False) -> None:
    """Wait until a file is readable or writable."""
    if not system.wait_for_pipe(file, write=write, deadline=deadline):
        raise TimedOut(_SLOW)


def _send(process: subprocess.Popen[bytes], data: bytes, deadline: float) -> None:
    assert process.stdin is not None
    file, left = process.stdin.fileno(), memoryview(LENGTH.pack(len(data)) + data)
    while left:
        _wait(file, deadline, write=True)
        try:
            left = left[os.write(file, left[:_PIECE]) :]
        except BlockingIOError:
            continue
        except BrokenPipeError:
            raise _Ended from None


def _receive(process: subprocess.Popen[bytes], most: int, deadline: float) -> Sequence[Any]:
    """Return a reply; raise if it exceeds `most` bytes."""
    assert process.stdout is not None
    file = process.stdout.fileno()
    (length,) = LENGTH.unpack(_read(file, LENGTH.size, deadline))
    if length > most:
        raise LimitReached(f"wrote a reply of more than {most:,} bytes")
    reply: Sequence[Any] = json.loads(_read(file, length, deadline).decode("utf-8", "surrogatepass"))
    return reply


def _read(file: int, length: int, deadline: float) -> bytes:
    data = bytearray()
    while len(data) < length:
        _wait(file, deadline)
        try:
            piece = os.read(file, min(_PIECE, length - len(data)))
        except BlockingIOError:
            continue
        if not piece:
            raise _Ended
        data += piece
    return bytes(data)


def _close(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    _close(process)
    process.wait()
