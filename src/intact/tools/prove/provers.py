"""Provers behind one interface: the built-in prover, and programs that run in the sandbox without network access."""

from __future__ import annotations

import re
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

from intact._base.errors import NotInstalledError, ParameterError
from intact._base.suggest import unknown_name
from intact.tools.prove import own, smtlib, tptp
from intact.tools.prove.formula import LogicProblem
from intact.tools.prove.verdict import MEANINGS, ProverVerdict, Status
from intact.tools.sandbox import Outcome, ProgramLimits, run_command

MEMORY: Final = 2 << 30
"""Size of the address space of a prover that runs as a process, in bytes."""


@dataclass(frozen=True)
class ProverLimits:
    """The limits of a prover.

    Attributes
    ----------
    steps : int or None
        Limit in the prover's own unit, which does not depend on the machine: steps of the built-in prover, E's
        processed clauses, SPASS's loops, resource units of Z3 and cvc5. None means the prover's own default.
    seconds : float
        Wall-time limit of a process, as a safety net: if it is reached, there is no verdict. The built-in prover has no
        time limit.
    """

    steps: int | None = None
    seconds: float = 10.0

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps < 1:
            raise ParameterError(f"steps must be at least 1, got {self.steps}")
        ProgramLimits.of(self.seconds)  # raises


class Prover(ABC):
    """A prover.

    Attributes
    ----------
    name : str
        Name in commands.
    title : str
        Name in running text.
    """

    name: str
    title: str

    @abstractmethod
    def missing(self) -> str | None:
        """Say what is missing on this machine and how to install it; return None if the prover can run."""

    @abstractmethod
    def prove(self, problem: LogicProblem, limits: ProverLimits) -> ProverVerdict:
        """Return the prover's verdict on a problem.

        Raises
        ------
        NotInstalledError
            If the prover is not installed.
        SandboxError
            If its process cannot be sandboxed on this machine.
        """


class OwnProver(Prover):
    """The built-in prover (`own`)."""

    name = own.NAME
    title = "intact"

    def missing(self) -> str | None:
        """Return None: the prover is always available."""
        return None

    def prove(self, problem: LogicProblem, limits: ProverLimits) -> ProverVerdict:
        """Return the prover's verdict; steps are limited, but time is not."""
        return own.prove(problem, limits.steps or own.STEPS)


class ProcessProver(Prover):
    """A program that reads a problem from standard input and prints its verdict.

    Parameters
    ----------
    program : str
        Name of the executable.
    package : str
        Installation hint.
    command : callable
        Returns the command-line arguments for a step limit.
    steps : int
        Default step limit.
    write : callable
        Formats a problem in the program's language.
    read : callable
        Returns the status found in the program's output, or None.
    """

    def __init__(
        self,
        name: str,
        title: str,
        *,
        program: str,
        package: str,
        command: Callable[[int], list[str]],
        steps: int,
        write: Callable[[LogicProblem], str],
        read: Callable[[LogicProblem, str], Status | None],
    ) -> None:
        self.name, self.title, self.program, self.package = name, title, program, package
        self.command, self.steps, self.write, self.read = command, steps, write, read

    def path(self) -> Path | None:
        """Return the path of the program, either on PATH or next to this interpreter, where a wheel installs it."""
        found = shutil.which(self.program) or shutil.which(self.program, path=str(Path(sys.executable).parent))
        return None if found is None else Path(found)

    def missing(self) -> str | None:
        """Say what is missing on this machine and how to install it; return None if the prover can run."""
        if self.path() is not None:
            return None
        return f"{self.title} is not installed: the program {self.program} is not on the path; {self.package}"

    def prove(self, problem: LogicProblem, limits: ProverLimits) -> ProverVerdict:
        """Return the program's verdict, even if it crashes, floods its output or hangs.

        If the conjecture follows, the program runs again on the axioms only, since most provers do not report whether
        these contradict each other.
        """
        path = self.path()
        if path is None:
            raise NotInstalledError(str(self.missing()))
        verdict = self._run(path, problem, limits)
        if verdict.status == "Theorem":
            alone = self._run(path, LogicProblem(problem.axioms), limits)
            if alone.status == "Unsatisfiable":
                return replace(verdict, status="ContradictoryAxioms")
            if alone.status != "Satisfiable":
                return replace(verdict, detail="the axioms alone may contradict each other")
        return verdict

    def _run(self, path: Path, problem: LogicProblem, limits: ProverLimits) -> ProverVerdict:
        allowed = replace(ProgramLimits.of(limits.seconds), memory=MEMORY)
        arguments = self.command(limits.steps or self.steps)
        outcome = run_command(path, arguments, self.write(problem), allowed)
        status, detail, settled = self._judge(problem, outcome)
        version = f"{self.program} sha256:{digest(path.resolve())}"
        return ProverVerdict(self.name, status, version, detail, settled=settled)

    def _judge(self, problem: LogicProblem, outcome: Outcome) -> tuple[Status, str, bool]:
        """Return the status of an outcome, further details, and whether the status would be the same on any machine."""
        if outcome.ended == "time":
            return "Timeout", f"after {outcome.seconds:.1f} s", False
        if outcome.ended == "output":
            return "Error", f"more than {ProgramLimits().output:,} bytes of output", True
        status = self.read(problem, outcome.stdout)
        if status is not None:
            return status, "", status not in ("Timeout", "MemoryOut")
        lines = (outcome.stderr.strip() or outcome.stdout.strip()).splitlines() or ["no output"]
        return "Error", f"{outcome.ended}, status {outcome.status}: {lines[-1]:.200}", outcome.settled


@cache
def digest(path: Path) -> str:
    """Return the SHA-256 of a file, which identifies a prover's version."""
    with path.open("rb") as file:
        result = sha256()
        while piece := file.read(1 << 20):
            result.update(piece)
    return result.hexdigest()


def _read_szs(problem: LogicProblem, text: str) -> Status | None:
    found = re.search(r"^[#%] SZS status (\w+)", text, re.MULTILINE)
    known: dict[str, Status] = {status: status for status in MEANINGS}
    return None if found is None else known.get(found[1], "GaveUp")


def _refuted(problem: LogicProblem, contradiction: bool) -> Status:
    if problem.conjecture is None:
        return "Unsatisfiable" if contradiction else "Satisfiable"
    return "Theorem" if contradiction else "CounterSatisfiable"


def _read_spass(problem: LogicProblem, text: str) -> Status | None:
    if "SPASS beiseite: Proof found." in text:
        return _refuted(problem, True)
    if "SPASS beiseite: Completion found." in text:
        return _refuted(problem, False)
    if "SPASS beiseite: Ran out of time." in text:
        return "Timeout"
    return "ResourceOut" if "SPASS beiseite: Maximal number of loops exceeded." in text else None


def _read_smt(problem: LogicProblem, text: str) -> Status | None:
    found = re.search(r"^(sat|unsat|unknown|timeout)$", text, re.MULTILINE)
    if found is None:
        return None
    if found[1] in ("unknown", "timeout"):
        return "GaveUp"
    return _refuted(problem, found[1] == "unsat")


PROVERS: Final[dict[str, Prover]] = {
    prover.name: prover
    for prover in (
        OwnProver(),
        ProcessProver(
            "e",
            "E",
            program="eprover",
            package="install Debian's package eprover, or https://eprover.org",
            command=lambda steps: ["--auto", "--tptp3-in", "--silent", f"--processed-clauses-limit={steps}", "-"],
            steps=20_000,
            write=tptp.format_problem,
            read=_read_szs,
        ),
        ProcessProver(
            "z3",
            "Z3",
            program="z3",
            package="pip install z3-solver, or install Debian's package z3",
            command=lambda steps: ["-smt2", f"rlimit={steps}", "-in"],
            steps=20_000_000,
            write=smtlib.format_problem,
            read=_read_smt,
        ),
        ProcessProver(
            "cvc5",
            "cvc5",
            program="cvc5",
            package="install Debian's package cvc5, or a release of https://cvc5.github.io",
            command=lambda steps: ["--lang=smt2", "--finite-model-find", f"--rlimit={steps}", "-"],
            steps=1_000_000,
            write=smtlib.format_problem,
            read=_read_smt,
        ),
        ProcessProver(
            "spass",
            "SPASS",
            program="SPASS",
            package="install Debian's package spass",
            command=lambda steps: ["-TPTP", "-Stdin", f"-Loops={steps}", "-PProblem=0", "-PGiven=0"],
            steps=20_000,
            write=tptp.format_problem,
            read=_read_spass,
        ),
    )
}
"""All provers by name, the built-in one first."""


def find_prover(name: str) -> Prover:
    """Look up a prover by name.

    Raises
    ------
    ParameterError
        If no prover has that name. The message lists the available ones.
    """
    if name not in PROVERS:
        raise ParameterError(unknown_name(f"no prover named {name!r:.60}", name, PROVERS))
    return PROVERS[name]
