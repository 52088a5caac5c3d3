"""Runs programs behind the protection in force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from threading import Event

from intact._base.errors import SandboxError
from intact._base.system import lacking_for_programs
from intact.tools.sandbox.commands import Kind, Protection
from intact.tools.sandbox.execute import Guest, execute, start
from intact.tools.sandbox.outcome import Outcome, ProgramLimits
from intact.tools.sandbox.protection import protection, requested


def run(
    code: str,
    stdin: str | None = None,
    limits: ProgramLimits | None = None,
    *,
    using: Kind | None = None,
    stop: Event | None = None,
    untrusted: bool = False,
) -> Outcome:
    """Run Python code in a process of its own, and return what became of it.

    The program has the standard library, fixed seeds (of hashes and of `random`) and an empty environment. Without
    namespaces it has no files, and of the standard library only what computing needs. The function blocks; threads may
    call it side by side.

    Parameters
    ----------
    code
        The program; it runs as ``__main__``, in the file ``program.py``.
    stdin
        What it may read.
    limits
        What it may use.
    using
        The protection to run behind; by default what INTACT_SANDBOX names, else the best there is. ``"none"`` insists
        on running without any.
    stop
        Set by another thread, it ends the program as if its time were over.
    untrusted
        If true, it never runs without protection, whatever `using` and INTACT_SANDBOX say.

    Raises
    ------
    SandboxError
        If there is no protection here and the caller does not insist, or may not; or if the protection itself fails.
    """
    return execute(code, stdin, limits or ProgramLimits(), choose(using, untrusted=untrusted), stop=stop)


def choose(using: Kind | None = None, *, untrusted: bool = False) -> Protection:
    """Return the protection that a program would run behind; parameters and errors as of `run`."""
    if (lacking := lacking_for_programs()) is not None:
        raise SandboxError(f"programs cannot be run on this system: it has no {lacking}")
    chosen = protection(using)
    if chosen.kind == "none" and untrusted:
        raise SandboxError(f"there is no protection against untrusted code here ({chosen.missing})")
    if chosen.kind == "none" and (using or requested()) != "none":
        raise SandboxError(
            f"no protection against the code that would run here ({chosen.missing}); INTACT_SANDBOX=none runs it anyway"
        )
    return chosen


def run_cells(
    cells: Sequence[str],
    limits: ProgramLimits | None = None,
    *,
    using: Kind | None = None,
    stop: Event | None = None,
    untrusted: bool = False,
) -> Outcome:
    """Run the cells of a session in one new process, and return what became of the last one.

    The earlier cells run again, without output and whatever they raise, so that the last one finds the state that they
    leave; the limits are for all of them together. A last expression's value is printed, as in an interactive session.
    Parameters and errors are as of `run`.
    """
    limits = limits or ProgramLimits()
    mark = sha256("\0".join(cells).encode("utf-8", "surrogatepass")).hexdigest()  # which no cell can hold
    order = {"cells": list(cells), "mark": mark, "steps": limits.steps}
    outcome = start(order, None, limits, choose(using, untrusted=untrusted), stop=stop)
    return replace(outcome, stdout=outcome.stdout.partition(mark)[2], stderr=outcome.stderr.partition(mark)[2])


def run_command(
    program: Path,
    arguments: Sequence[str],
    stdin: str,
    limits: ProgramLimits,
    *,
    files: Sequence[Path] = (),
    variables: Mapping[str, str] | None = None,
    threads: bool = False,
    using: Kind | None = None,
    stop: Event | None = None,
) -> Outcome:
    """Run a program that is installed here, such as a prover, and return what became of it.

    It has no network, starts no process, and sees the system's libraries, its own file and what it is given to read.
    Steps are not counted; the other limits hold, and parameters are as of `run`.

    Parameters
    ----------
    files
        Files and folders that it may read besides, where they exist.
    variables
        What it finds in its environment besides.
    threads
        If true, it may have threads, but still no other process.

    Raises
    ------
    SandboxError
        If bubblewrap is not there and nobody insists on running without protection; or if it fails, or the program
        cannot be started.
    """
    chosen = choose(using)
    if chosen.kind == "seccomp":
        raise SandboxError(f"{program.name} cannot be confined here, which takes bubblewrap: {chosen.missing}")
    path = str(program.resolve())
    more = [str(one) for one in files if one.exists()]
    guest = Guest((path, *more), variables or {}, threads)
    return start({"command": [path, *arguments]}, stdin, limits, chosen, stop=stop, guest=guest)
