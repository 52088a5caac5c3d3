"""The interface of proof assistants: proof states as values, single proof steps, and checking of whole files."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from threading import Event
from typing import ClassVar, Final, NamedTuple

from intact._base.errors import ParameterError
from intact.tools.prove.assistants.failures import FailureLabel
from intact.tools.prove.assistants.transcript import ProofKind, ProofTranscript
from intact.tools.sandbox import ProgramLimits

MEMORY: Final = 2 << 30
"""Size of the address space of an assistant that runs as a process, in bytes."""


@dataclass(frozen=True)
class AssistantLimits:
    """The limits of an assistant that runs as a process.

    Attributes
    ----------
    seconds : float
        Limit on wall time and on CPU time; if it is reached, there is no verdict.
    """

    seconds: float = 30.0

    def __post_init__(self) -> None:
        ProgramLimits.of(self.seconds)  # raises


@dataclass(frozen=True)
class ProofState:
    """A statement, the steps of its proof so far, and their result; an immutable value.

    Attributes
    ----------
    statement : str
        Text before the proof, ending with the theorem.
    steps : tuple of str
        Steps of the proof, in order.
    kind : {'proved', 'open', 'error', 'hole', 'limit'}
        Result of the steps (`PROOF_KINDS`).
    goals : tuple of str
        Remaining goals, each with hypotheses and conclusion; the next step works on the first.
    message : str
        The error message, the axioms that an accepted proof depends on, or the limit that was reached.
    failed : int or None
        Zero-based index of the step that failed; None if the statement failed.
    settled : bool
        If true, the result is the same on every machine; false after a time limit.
    """

    statement: str
    steps: tuple[str, ...]
    kind: ProofKind
    goals: tuple[str, ...] = ()
    message: str = ""
    failed: int | None = None
    settled: bool = True

    @property
    def digest(self) -> str:
        """SHA-256 of the remaining goals: states that print the same goals are treated as the same."""
        return sha256("\0".join([self.kind, *self.goals]).encode("utf-8", "surrogatepass")).hexdigest()


class FileError(NamedTuple):
    """An error in a file: line and column, counted from 1, and message."""

    line: int
    column: int
    message: str


@dataclass(frozen=True)
class FileReport:
    """The result of checking a whole file.

    Attributes
    ----------
    errors : tuple of FileError
        Errors in file order.
    holes : tuple of int
        Lines on which a proof gives up a goal.
    axioms : tuple of str
        Axioms that the file itself assumes.
    limit : str
        Description of the limit that ended the check, in which case nothing is known; empty if no limit was reached.
    """

    errors: tuple[FileError, ...] = ()
    holes: tuple[int, ...] = ()
    axioms: tuple[str, ...] = ()
    limit: str = ""

    @property
    def compiles(self) -> bool:
        """If true, the file has no errors; holes are allowed."""
        return not (self.errors or self.limit)


class KnownStatements(NamedTuple):
    """The statements that a proof may use, each preceded by its name, or the limit that ended the listing."""

    statements: tuple[str, ...] = ()
    limit: str = ""


class Assistant(ABC):
    """A proof assistant.

    No process is kept between steps: each step replays the proof from the beginning in a new process. A result
    therefore depends only on the statement and the steps, and undoing a step means returning to an earlier state.

    Attributes
    ----------
    name : str
        Name in commands.
    title : str
        Name in running text.
    ending : str
        File name extension.
    is_process : bool
        If true, it runs as a process in the sandbox.
    shows : str
        Name of the output it shows after a step.
    errors : mapping of FailureLabel to pattern
        Patterns of error messages; the first match counts, and any other error is a failed tactic.
    """

    name: str
    title: str
    ending: str
    is_process: bool = True
    shows: str = "goals"
    errors: ClassVar[Mapping[FailureLabel, re.Pattern[str]]] = {}

    @abstractmethod
    def missing(self) -> str | None:
        """Say what is missing on this machine and how to install it; return None if the assistant can run."""

    @abstractmethod
    def version(self) -> str:
        """Return a version that identifies results, such as the digest of the program; empty if not installed."""

    @abstractmethod
    def run(
        self, statement: str, steps: tuple[str, ...], limits: AssistantLimits, stop: Event | None = None
    ) -> ProofState:
        """Run a proof up to the first step that fails, and return the resulting state.

        Raises
        ------
        NotInstalledError
            If the assistant is not installed.
        SandboxError
            If its process cannot be sandboxed on this machine.
        """

    @abstractmethod
    def check(self, text: str, limits: AssistantLimits) -> FileReport:
        """Check a whole file; raises like `run`."""

    def transcripts(self, text: str, limits: AssistantLimits, theorem: str = "") -> tuple[list[ProofTranscript], str]:
        """Return the proofs of a file step by step, and a description of the limit that ended the run, or "".

        Parameters
        ----------
        theorem : str
            Theorem whose proof to return; empty for all.

        Raises
        ------
        ParameterError
            If the assistant does not support this, or the file cannot be read.
        NotInstalledError, SandboxError
            As for `run`.
        """
        raise ParameterError(f"proofs of {self.title} cannot be shown step by step yet; Rocq's and Metamath's can")

    def known(self, statement: str, limits: AssistantLimits, stop: Event | None = None) -> KnownStatements:
        """Return the statements of the library, and of the text before a theorem, that its proof may use.

        Raises
        ------
        ParameterError
            If the assistant cannot list them, or the text before the theorem fails.
        NotInstalledError, SandboxError
            As for `run`.
        """
        raise ParameterError(
            f"{self.title} cannot list the statements of its library: give a file of them as `library`"
        )

    def failure(self, kind: ProofKind, message: str) -> FailureLabel | None:
        """Return the label of a failed proof, given its result and the assistant's message; None if it did not fail.

        A proof with open goals counts as one that ends there.
        """
        if kind == "proved":
            return None
        if kind == "open":
            return "unsolved goals"
        if kind == "hole":
            return "forbidden"
        if kind == "limit":
            return "timeout" if "ended by time" in message else "resource limit"
        found = (label for label, pattern in self.errors.items() if pattern.search(message))
        return next(found, "failed tactic")

    def failures(self, report: FileReport) -> list[FailureLabel]:
        """Return the labels of a file's failures: one per error, then one per hole, or the label of a limit."""
        found = [self.failure("limit", report.limit)] if report.limit else []
        found += [self.failure("error", one.message) for one in report.errors]
        found += [self.failure("hole", "")] * len(report.holes)
        return [label for label in found if label is not None]

    def split(self, text: str) -> tuple[str, ...]:
        """Split the text of a proof into steps; by default, each word is a step."""
        return tuple(text.split())

    def without(self, steps: tuple[str, ...], failed: int, message: str) -> tuple[str, ...]:
        """Replace a failing step and its dependents with a hole; by default, keep only the steps before it."""
        return steps[:failed]

    def is_hole(self, step: str) -> bool:
        """Return true if a step gives up a goal."""
        return False

    def enclose(self, steps: tuple[str, ...]) -> tuple[str, ...]:
        """Wrap steps so that they can affect only the first goal; by default, return them unchanged."""
        return steps

    def join(self, steps: tuple[str, ...]) -> str:
        """Join the steps of a proof into one text."""
        return "\n".join(steps)

    def open(self, statement: str, limits: AssistantLimits | None = None) -> ProofState:
        """Return the state at the beginning of a statement's proof."""
        return self.run(statement, (), limits or AssistantLimits())

    def step(self, state: ProofState, step: str, limits: AssistantLimits | None = None) -> ProofState:
        """Return the state after one more step.

        Raises
        ------
        ParameterError
            If the state does not allow another step.
        """
        if state.kind != "open":
            raise ParameterError(f"a step needs a state with open goals, but this one is {state.kind!r}")
        return self.run(state.statement, (*state.steps, step), limits or AssistantLimits())

    def undo(self, state: ProofState, limits: AssistantLimits | None = None) -> ProofState:
        """Return the state before the last step.

        Raises
        ------
        ParameterError
            If the state has no steps.
        """
        if not state.steps:
            raise ParameterError("there is no step to undo")
        return self.run(state.statement, state.steps[:-1], limits or AssistantLimits())
