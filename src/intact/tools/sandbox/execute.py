"""Starting a program inside a protection, and watching it until it ends."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from threading import Event
from types import MappingProxyType
from typing import Any, NamedTuple

from intact._base.errors import SandboxError
from intact._base.system import end_group
from intact.tools.sandbox import filters
from intact.tools.sandbox.commands import (
    SCRATCH,
    Protection,
    bubblewrap,
    environment,
    interpreter,
)
from intact.tools.sandbox.outcome import Ending, Outcome, ProgramLimits
from intact.tools.sandbox.runner import MEMORY, STARTED, STEPS

OPEN_FILES = 32
STACK = 8 << 20
"""Stack size in bytes, which limits how deeply calls may nest before the kernel ends the program."""
MOST_THREADS = 4096
"""Maximum number of processes and threads of the user if a program may have threads; the filter forbids new processes.
"""
LOOK = 0.05
"""Interval at which the program's limits are checked, in seconds."""
TICK = 0.002
"""The same once both of its streams are closed and nothing announces its end."""


class Guest(NamedTuple):
    """Additional readable files and environment variables for an installed program, and whether it may have threads."""

    files: Sequence[str] = ()
    variables: Mapping[str, str] = MappingProxyType({})
    threads: bool = False


ALONE = Guest()
"""The guest for a Python program, which gets nothing extra."""


@cache
def _runner() -> str:
    return Path(__file__).with_name("runner.py").read_text("utf-8")


def execute(
    code: str, stdin: str | None, limits: ProgramLimits, chosen: Protection, stop: Event | None = None
) -> Outcome:
    """Run code inside exactly this protection.

    Raises
    ------
    SandboxError
        If the protection fails before the program begins.
    """
    return start({"cells": [code], "mark": "", "steps": limits.steps}, stdin, limits, chosen, stop=stop)


def start(
    order: dict[str, Any],
    stdin: str | None,
    limits: ProgramLimits,
    chosen: Protection,
    stop: Event | None,
    guest: Guest = ALONE,
) -> Outcome:
    """Pass an order to the runner, and watch the program until it ends."""
    strict = chosen.kind == "seccomp"
    program = (filters.strict() if strict else filters.narrow(guest.threads)) if chosen.filtered else b""
    order |= {
        "kind": chosen.kind,
        "strict": strict,
        "filter": program.hex(),
        "parent": None if chosen.kind == "bubblewrap" else os.getpid(),
        "limits": {
            "AS": limits.memory,
            "CPU": limits.cpu_seconds,
            "FSIZE": limits.scratch,
            "NOFILE": OPEN_FILES,
            "NPROC": MOST_THREADS if guest.threads else 1,
            "CORE": 0,
            "STACK": STACK,
        },
    }
    with contextlib.ExitStack() as stack:
        orders = stack.enter_context(tempfile.TemporaryFile())
        orders.write(json.dumps(order).encode())
        orders.seek(0)
        source = stack.enter_context(tempfile.TemporaryFile())
        source.write((stdin or "").encode("utf-8", "replace"))
        source.seek(0)
        folder = SCRATCH
        if chosen.kind == "none":
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="intact-", ignore_cleanup_errors=True))
        command = bubblewrap(limits.scratch, guest.files) if chosen.kind == "bubblewrap" else []
        command += [*interpreter(), "-c", _runner(), str(orders.fileno())]
        began = time.monotonic()
        process = subprocess.Popen(
            command,
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(folder) | dict(guest.variables),
            cwd=folder if chosen.kind == "none" else "/",
            pass_fds=(orders.fileno(),),
            start_new_session=True,
        )
        try:
            texts, cut = _watch(process, limits, began, stop)
        finally:
            end_group(process.pid)
            process.wait()
            for stream in (process.stdout, process.stderr):
                assert stream is not None
                stream.close()
        orders.seek(0)
        started = orders.read(len(STARTED)) == STARTED
    status = process.returncode
    if 128 < status <= 128 + signal.NSIG:
        status = 128 - status  # bubblewrap reports signals like a shell; the outcome is the same as without it
    out, err = (text.decode("utf-8", "replace") for text in texts)
    ended = cut or _ending(status)
    if not started and ended != "time":
        reason = err.strip().splitlines()[-1:] or [f"status {status}"]
        raise SandboxError(f"the protection ({chosen.kind}) failed before the program began: {reason[0]:.300}")
    return Outcome(out, err, status, ended, seconds=time.monotonic() - began)


def _watch(
    process: subprocess.Popen[bytes], limits: ProgramLimits, began: float, stop: Event | None
) -> tuple[list[bytes], Ending | None]:
    """Read both streams until they close, the program times out, or the output is too long."""

    def pause() -> float:
        """Return the seconds until the next check; 0 if the program must end."""
        if stop is not None and stop.is_set():
            return 0.0
        return min(LOOK, max(0.0, began + limits.seconds - time.monotonic()))

    streams: list[Any] = [process.stdout, process.stderr]
    texts = [bytearray(), bytearray()]
    left = limits.output
    with selectors.DefaultSelector() as selector:
        for index, stream in enumerate(streams):
            selector.register(stream, selectors.EVENT_READ, index)
        while selector.get_map():
            if not (wait := pause()):
                return [bytes(text) for text in texts], "time"
            for key, _ in selector.select(wait):
                piece = os.read(key.fd, 1 << 16)
                if not piece:
                    selector.unregister(key.fileobj)
                texts[key.data] += piece[:left]
                if len(piece) > left:
                    return [bytes(text) for text in texts], "output"
                left -= len(piece)
        while process.poll() is None:  # both streams are closed, but the program may still be running
            if not (wait := pause()):
                return [bytes(text) for text in texts], "time"
            selector.select(min(wait, TICK))  # only waits; a wait of subprocess sleeps, which fails under libfaketime
    return [bytes(text) for text in texts], None


def _ending(status: int) -> Ending:
    if status < 0 and signal.Signals(-status).name == "SIGXCPU":
        return "time"
    if status < 0:
        return "signal"
    if status == STEPS:
        return "steps"
    if status == MEMORY:
        return "memory"
    return "error" if status else "ok"
