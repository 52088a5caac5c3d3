"""Rerun the programs of a run: the outcome of each is a claim to verify."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import replace

from intact._base.errors import SandboxError
from intact.reason.requests import RunProgram
from intact.solving.receipts.claims import Claims
from intact.solving.receipts.entries import RunEntry
from intact.solving.receipts.header import Sandbox
from intact.solving.receipts.verdict import RunVerdict
from intact.tools import sandbox


def here() -> Sandbox:
    """Return the environment in which programs run on this machine."""
    return Sandbox(platform.python_version(), sandbox.protection().kind)


def verify_programs(claims: Claims, between: Callable[[], None] | None = None) -> RunVerdict:
    """Rerun every program of a receipt; `between` is called before each."""
    first: dict[bytes, int] = {}
    for index, entry in enumerate(claims.run.entries):
        if isinstance(entry, RunEntry):
            first.setdefault(entry.program, index)
    count, doubt = 0, None
    for program, index in first.items():
        if between is not None:
            between()
        try:
            found = _difference(claims.programs[program], claims.ran[program], claims.run.header.sandbox)
        except SandboxError as error:
            return RunVerdict("unverifiable", "sandbox", index, detail=str(error), programs=count)
        if found is None:
            count += 1
        elif found.outcome == "false":
            return replace(found, entry=index, programs=count)
        else:
            doubt = doubt or replace(found, entry=index)
    return replace(doubt or RunVerdict("true"), programs=count)


def _difference(request: RunProgram, entry: RunEntry, there: Sandbox | None) -> RunVerdict | None:
    """Return the verdict if a program's outcome differs from its entry."""
    own = _outcome(request)
    if _same(own, entry):
        return None
    detail = f"its program ends by {own.ended!r} with status {own.status} here, not by {entry.ended!r}, {entry.status}"
    if (own.ended, own.status) == (entry.ended, entry.status):
        detail = "its program prints something else here"
    if there != here():
        return RunVerdict("unverifiable", "run", detail=f"{detail}; it ran in {there}, here is {here()}")
    if entry.ended == "time" or not own.settled:
        return RunVerdict("unverifiable", "run", detail=f"{detail}; how long it takes depends on the machine")
    again = _outcome(request)
    if (again.stdout, again.status, again.ended) != (own.stdout, own.status, own.ended):
        return RunVerdict("unverifiable", "run", detail=f"{detail}; it ends differently from run to run")
    return RunVerdict("false", "run", detail=detail)


def _same(outcome: sandbox.Outcome, entry: RunEntry) -> bool:
    return (outcome.stdout, outcome.status, outcome.ended) == (entry.stdout, entry.status, entry.ended)


def _outcome(request: RunProgram) -> sandbox.Outcome:
    """Run a receipt's program, never unprotected, whatever the value of INTACT_SANDBOX."""
    return sandbox.run(request.code, request.stdin, request.limits, untrusted=True)
