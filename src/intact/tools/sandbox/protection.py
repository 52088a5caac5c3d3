"""Selection of a protection that works on this machine.

bubblewrap, if it is installed and may create namespaces, gives the program its own user namespace, no network, no other
processes, and a read-only file system with the interpreter and the system libraries, plus a scratch folder in memory.
Otherwise seccomp rejects all system calls except those for memory, clocks and open files, so the program cannot access
any files.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import time
from functools import cache
from typing import get_args

from intact._base.errors import ParameterError, SandboxError
from intact._base.system import is_root, lacking_for_programs
from intact.tools.sandbox import filters
from intact.tools.sandbox.commands import Kind, Protection
from intact.tools.sandbox.execute import execute
from intact.tools.sandbox.outcome import ProgramLimits

AGAIN = 60.0
"""Number of seconds after which a protection that failed is tried again."""
_failures: dict[Protection, tuple[float, str]] = {}


def protection(kind: Kind | None = None) -> Protection:
    """Return the protection to use: the given kind, else the kind in INTACT_SANDBOX, else the best available.

    Raises
    ------
    ParameterError
        If INTACT_SANDBOX is not a valid kind.
    SandboxError
        If the requested kind does not work on this machine.
    """
    if kind is not None:
        _failures.clear()  # an explicit choice is always tried
    kind = kind or requested()
    lacking = lacking_for_programs()
    if lacking is not None and kind in (None, "none"):
        return Protection("none", False, f"this system has no {lacking}")
    if lacking is not None:
        raise SandboxError(f"protection by {kind} is not available: this system has no {lacking}")
    if kind == "none":
        return Protection("none", False, "INTACT_SANDBOX=none, or the caller, asked for it")
    no_bubblewrap, no_filter = _without_bubblewrap(), _without_seccomp()
    if kind != "seccomp" and no_bubblewrap is None:
        return Protection("bubblewrap", no_filter is None, no_filter or "")
    if kind != "bubblewrap" and no_filter is None:
        return Protection("seccomp", True, no_bubblewrap or "")
    reasons = {"bubblewrap": no_bubblewrap, "seccomp": no_filter}
    if kind is not None:
        raise SandboxError(f"protection by {kind} is not available: {reasons[kind]}")
    return Protection("none", False, f"bubblewrap: {no_bubblewrap}; seccomp: {no_filter}")


def requested() -> Kind | None:
    """Return the kind in INTACT_SANDBOX; with ``none``, the user agrees to running code without protection."""
    value = os.environ.get("INTACT_SANDBOX") or None
    known = {kind: kind for kind in get_args(Kind)}
    if value is not None and value not in known:
        raise ParameterError(f"INTACT_SANDBOX must be one of {', '.join(known)}, got {value!r}")
    return known.get(value)


def _without_seccomp() -> str | None:
    """Return the reason why seccomp cannot protect here, or None if it can."""
    if sys.platform != "linux":
        return "only Linux has it"
    return filters.available() or _failure(Protection("seccomp", True))


def _without_bubblewrap() -> str | None:
    """Return the reason why bubblewrap cannot protect here, or None if it can."""
    program = shutil.which("bwrap")
    if program is None:
        return "bwrap is not installed"
    if not _is_new(program):
        return f"{program} is older than 0.8"
    filtered = _without_seccomp() is None
    if is_root() and not filtered:
        return f"root may start processes without limit unless a filter stops it: {_without_seccomp()}"
    return _failure(Protection("bubblewrap", filtered))


@cache
def _is_new(bwrap: str) -> bool:
    help_text = subprocess.run([bwrap, "--help"], capture_output=True, text=True, check=False).stdout
    return all(option in help_text for option in ("--size", "--disable-userns"))


def _failure(candidate: Protection) -> str | None:
    """Return the error that a minimal program causes, or None if it runs.

    Success is remembered permanently; a failure may be temporary, but is not retried for each program.
    """
    when, reason = _failures.get(candidate, (-math.inf, ""))
    if time.monotonic() - when < AGAIN:
        return reason
    try:
        _try(candidate)
    except (OSError, SandboxError) as error:
        _failures[candidate] = time.monotonic(), str(error)
        return str(error)
    return None


@cache
def _try(candidate: Protection) -> None:
    """Run a minimal program."""
    outcome = execute("print(6 * 7)", None, ProgramLimits(), candidate)
    if not outcome.ok or outcome.stdout != "42\n":
        lines = outcome.stderr.strip().splitlines()
        raise SandboxError(lines[-1] if lines else f"a first program ended with status {outcome.status}")
