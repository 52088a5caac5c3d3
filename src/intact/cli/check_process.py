"""The process in which ``intact check`` runs a method, so that one that never ends can be killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from typing import Any

from intact._base import system
from intact._base.errors import IntactError, ParameterError

STARTING = 300.0
"""Timeout for starting the process, in seconds; generous, for busy machines."""
PROGRAM = "from intact.cli.check_process import main; main()"


def run_checks(name: str, settings: Sequence[str], seconds: float) -> Generator[dict[str, Any], None, None]:
    """Check a method in a separate process; closing the iterator ends that process and everything it started.

    Yield first a dictionary with `method`, `parameters` and `checks` (pairs of name and meaning), then the fields of
    each `CheckResult`. A check that takes longer than `seconds` fails and is the last.

    Raises
    ------
    IntactError
        If the method does not exist, its file takes longer to load, or a setting is invalid.
    """
    path = os.pathsep.join(filter(None, sys.path))
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", PROGRAM, name, str(seconds), *settings],
        stdin=subprocess.PIPE,  # closing it tells the process that its parent is gone
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": path},
        start_new_session=True,  # Ctrl-C is for this process, which then ends that one
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield from _results(process, name, seconds)
    finally:
        system.end_group(process.pid)
        process.stdin.close()
        process.stdout.close()
        process.wait()


def _results(process: subprocess.Popen[bytes], name: str, seconds: float) -> Iterator[dict[str, Any]]:
    lines = _Lines(process)
    lines.next(STARTING)
    subject = lines.next(seconds)
    if subject is None and lines.timed_out:
        message = f"{name} did not load within {seconds:g} s: is there a loop outside of its functions?"
        raise ParameterError(f"{message} --seconds N allows more time")
    if subject is None:
        raise ParameterError(f"{name} ended the process that loaded it with status {process.wait()}")
    yield _value(subject)
    for check, meaning in subject["checks"]:
        result = lines.next(seconds)
        if result is None and not lines.timed_out and not process.wait():
            return  # if the first check fails, the others are skipped
        if result is not None:
            yield _value(result)
            continue
        if lines.timed_out:
            why = f"{subject['method']} did not end within {seconds:g} s, so it was stopped, and no other property "
            why += "was checked; --seconds N gives each property more time"
        else:
            why = f"{subject['method']} ended its process with status {process.wait()}"
        yield {"check": check, "meaning": meaning, "holds": False, "why": why}
        return


def _value(line: dict[str, Any]) -> dict[str, Any]:
    """Return the value of a line from the process; raise IntactError if it reports an error."""
    if "error" in line:
        raise IntactError(line["error"])
    return line


class _Lines:
    """Reader of the JSON lines that a process writes.

    Attributes
    ----------
    timed_out : bool
        If true, the last line did not arrive in time.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self._file, self._read, self.timed_out = process.stdout.fileno(), b"", False
        system.prepare_pipe(self._file)

    def next(self, seconds: float) -> Any:
        """Return the next line's value; None if the process has ended or the timeout has passed."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self._read:
            if not system.wait_for_pipe(self._file, write=False, deadline=deadline):
                self.timed_out = True
                return None
            if not (piece := os.read(self._file, 1 << 16)):
                return None
            self._read += piece
        line, _, self._read = self._read.partition(b"\n")
        return json.loads(line)


def main() -> None:
    """Check the method named on the command line; write the results as JSON lines (`run_checks`)."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the method's own output must not be taken for a reply

    def send(value: Any) -> None:
        replies.write(json.dumps(value) + "\n")
        replies.flush()

    threading.Thread(target=_end_with_parent, daemon=True).start()
    from intact.cli.solve import parse_settings
    from intact.reason.registry import find
    from intact.reason.testing.checks import ToyTrial, check_method, checks_of

    name, seconds, *settings = sys.argv[1:]
    send("started")
    try:
        method = find(name)
        trial = ToyTrial.of(method, name, parse_settings(method, settings))
        trial.seconds = float(seconds)
        checks = [(check.name, check.meaning) for check in checks_of(method)]
        send({"method": method.name, "parameters": dict(trial.parameters), "checks": checks})
        for result in check_method(trial):
            send(result._asdict())
    except (IntactError, OSError) as error:
        send({"error": str(error)})


def _end_with_parent() -> None:
    """Wait for the parent to exit, then kill this process and everything it started."""
    sys.stdin.buffer.read()
    system.end_group(os.getpid())
