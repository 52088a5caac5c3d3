"""Running programs inside the active protection."""

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
    """Run Python code in a process of its own, and return its outcome.

    The program has the standard library, fixed seeds (for hashes and `random`) and an empty environment. Without
    namespaces, it has no files, and only the computational part of the standard library. The call blocks; threads may
    call it concurrently.

    Parameters
    ----------
    code
        Program to run as ``__main__``, in the file ``program.py``.
    stdin
        Standard input.
    limits
        Resource limits.
    using
        Protection to use; by default the kind in INTACT_SANDBOX, else the best available. ``"none"`` explicitly runs
        without protection.
    stop
        Event that ends the program when another thread sets it, as if it had timed out.
    untrusted
        If true, never run without protection, regardless of `using` and INTACT_SANDBOX.

    Raises
    ------
    SandboxError
        If no protection is available and the caller did not, or may not, opt out of it; or if the protection itself
        fails.
    """
    return execute(code, stdin, limits or ProgramLimits(), choose(using, untrusted=untrusted), stop=stop)


def choose(using: Kind | None = None, *, untrusted: bool = False) -> Protection:
    """Return the protection that a program would run in; parameters and errors as for `run`."""
    if (lacking := lacking_for_programs()) is not None:
        raise SandboxError(f"programs cannot be run on this system: it has no {lacking}")
    chosen = protection(using)
    if chosen.kind == "none" and untrusted:
        raise SandboxError(f"this system has no protection against untrusted code ({chosen.missing})")
    if chosen.kind == "none" and (using or requested()) != "none":
        raise SandboxError(
            f"this system has no protection against the code that would run ({chosen.missing}); "
            "INTACT_SANDBOX=none runs it anyway"
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
    """Run the cells of a session in one new process, and return the outcome of the last one.

    The earlier cells are rerun, ignoring their output and exceptions, so that the last one finds the state they leave
    behind; the limits apply to all cells together. The value of a final expression is printed, as in an interactive
    session.

    Parameters and errors are as for `run`.
    """
    limits = limits or ProgramLimits()
    mark = sha256("\0".join(cells).encode("utf-8", "surrogatepass")).hexdigest()  # a mark that no cell can contain
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
    """Run an installed program, such as a prover, and return its outcome.

    The program has no network access, cannot start processes, and sees only the system libraries, its own file and the
    given files. Steps are not counted; the other limits apply, and parameters are as for `run`.

    Parameters
    ----------
    files
        Additional readable files and folders; those that do not exist are skipped.
    variables
        Additional environment variables.
    threads
        If true, the program may have threads, but still no other processes.

    Raises
    ------
    SandboxError
        If bubblewrap is not available and the caller did not opt out of protection; if bubblewrap fails, or the program
        cannot be started.
    """
    chosen = choose(using)
    if chosen.kind == "seccomp":
        raise SandboxError(f"{program.name} cannot be confined here without bubblewrap: {chosen.missing}")
    path = str(program.resolve())
    more = [str(one) for one in files if one.exists()]
    guest = Guest((path, *more), variables or {}, threads)
    return start({"command": [path, *arguments]}, stdin, limits, chosen, stop=stop, guest=guest)
