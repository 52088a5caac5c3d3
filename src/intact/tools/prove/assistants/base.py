"""The protocol of proof assistants: states of a proof as values, a step from one to the next, the check of a file."""

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
"""Bytes of address space of an assistant that is a process."""


@dataclass(frozen=True)
class AssistantLimits:
    """The limits of an assistant that is a process.

    Attributes
    ----------
    seconds : float
        Wall time and processor time: what they end is no verdict.
    """

    seconds: float = 30.0

    def __post_init__(self) -> None:
        ProgramLimits.of(self.seconds)  # raises


@dataclass(frozen=True)
class ProofState:
    """A statement, the steps of a proof so far, and what became of them. It is a value: nothing ever changes it.

    Attributes
    ----------
    statement : str
        The text before the proof, the theorem's last.
    steps : tuple of str
        The steps, the first first.
    kind : {'proved', 'open', 'error', 'hole', 'limit'}
        What became of them (`PROOF_KINDS`).
    goals : tuple of str
        What is left to prove, the goal that the next step works on first: its hypotheses and conclusion.
    message : str
        The error in words, the axioms that an accepted proof rests on, or the limit.
    failed : int or None
        The place of the step that failed, from 0; None where the statement did.
    settled : bool
        If true, every machine says so; false after a limit on time.
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
        """The SHA-256 of what is left to prove: states that print the same goals are one."""
        return sha256("\0".join([self.kind, *self.goals]).encode("utf-8", "surrogatepass")).hexdigest()


class FileError(NamedTuple):
    """An error in a file: line and column from 1, and what is wrong."""

    line: int
    column: int
    message: str


@dataclass(frozen=True)
class FileReport:
    """The result of checking a whole file.

    Attributes
    ----------
    errors : tuple of FileError
        In the order of the file.
    holes : tuple of int
        The lines at which a proof is given up.
    axioms : tuple of str
        What the file assumes by itself.
    limit : str
        The limit that ended the check, in words; then nothing is known. Else empty.
    """

    errors: tuple[FileError, ...] = ()
    holes: tuple[int, ...] = ()
    axioms: tuple[str, ...] = ()
    limit: str = ""

    @property
    def compiles(self) -> bool:
        """If true, the file has no error, holes or not."""
        return not (self.errors or self.limit)


class KnownStatements(NamedTuple):
    """The statements that a proof may use, each after its name, or the limit that ended the listing, in words."""

    statements: tuple[str, ...] = ()
    limit: str = ""


class Assistant(ABC):
    """A proof assistant.

    No process stays between two steps: each replays the proof from its beginning in a new one. So a result depends on
    the statement and the steps alone, and to undo a step is to take an earlier state.

    Attributes
    ----------
    name : str
        Its name in commands.
    title : str
        Its name in prose.
    ending : str
        What the names of its files end in.
    is_process : bool
        If true, it runs as a process, in the sandbox.
    shows : str
        What it shows behind a step.
    errors : mapping of FailureLabel to pattern
        What its messages of errors say, the first that is found counts; any other is a failed tactic.
    """

    name: str
    title: str
    ending: str
    is_process: bool = True
    shows: str = "goals"
    errors: ClassVar[Mapping[FailureLabel, re.Pattern[str]]] = {}

    @abstractmethod
    def missing(self) -> str | None:
        """Return what is missing here and how to get it, or None if the assistant can run."""

    @abstractmethod
    def version(self) -> str:
        """Return what its results depend on besides the texts, such as the digest of its program; empty if missing."""

    @abstractmethod
    def run(
        self, statement: str, steps: tuple[str, ...], limits: AssistantLimits, stop: Event | None = None
    ) -> ProofState:
        """Return what becomes of a proof: the steps up to the first that fails.

        Raises
        ------
        NotInstalledError
            If the assistant is not here.
        SandboxError
            If its process cannot be confined here.
        """

    @abstractmethod
    def check(self, text: str, limits: AssistantLimits) -> FileReport:
        """Return what is wrong with a whole file; errors as of `run`."""

    def transcripts(self, text: str, limits: AssistantLimits, theorem: str = "") -> tuple[list[ProofTranscript], str]:
        """Return the proofs of a file step by step, and the limit that ended the run in words, else an empty text.

        Parameters
        ----------
        theorem : str
            Return the proof of this theorem alone; empty for all.

        Raises
        ------
        ParameterError
            If the assistant cannot show them, or the file cannot be read.
        NotInstalledError, SandboxError
            As of `run`.
        """
        raise ParameterError(f"proofs of {self.title} cannot be shown step by step yet; Rocq's and Metamath's can")

    def known(self, statement: str, limits: AssistantLimits, stop: Event | None = None) -> KnownStatements:
        """Return the statements of the library, and of the text before a theorem, that its proof may use.

        Raises
        ------
        ParameterError
            If the assistant cannot list them, or the text before the theorem fails.
        NotInstalledError, SandboxError
            As of `run`.
        """
        raise ParameterError(f"{self.title} cannot list the statements of its library: name a file of them by library")

    def failure(self, kind: ProofKind, message: str) -> FailureLabel | None:
        """Return why a proof failed, by its outcome and the assistant's message; None if it did not.

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
        """Return why a file is not whole: a label for each error, then for each hole, or that of a limit."""
        found = [self.failure("limit", report.limit)] if report.limit else []
        found += [self.failure("error", one.message) for one in report.errors]
        found += [self.failure("hole", "")] * len(report.holes)
        return [label for label in found if label is not None]

    def split(self, text: str) -> tuple[str, ...]:
        """Return the steps of a proof that is written as one text: here its words."""
        return tuple(text.split())

    def without(self, steps: tuple[str, ...], failed: int, message: str) -> tuple[str, ...]:
        """Return a proof without a step that fails and what depends on it, with a hole there: here its beginning."""
        return steps[:failed]

    def is_hole(self, step: str) -> bool:
        """Return true if a step gives a goal up."""
        return False

    def enclose(self, steps: tuple[str, ...]) -> tuple[str, ...]:
        """Return steps that can touch no goal but the first: here as they are."""
        return steps

    def join(self, steps: tuple[str, ...]) -> str:
        """Return a proof as one text."""
        return "\n".join(steps)

    def open(self, statement: str, limits: AssistantLimits | None = None) -> ProofState:
        """Return the state in which a statement's proof begins."""
        return self.run(statement, (), limits or AssistantLimits())

    def step(self, state: ProofState, step: str, limits: AssistantLimits | None = None) -> ProofState:
        """Return the state behind one more step.

        Raises
        ------
        ParameterError
            If nothing can follow the state.
        """
        if state.kind != "open":
            raise ParameterError(f"a step needs a state with open goals, and this one is {state.kind!r}")
        return self.run(state.statement, (*state.steps, step), limits or AssistantLimits())

    def undo(self, state: ProofState, limits: AssistantLimits | None = None) -> ProofState:
        """Return the state before the last step.

        Raises
        ------
        ParameterError
            If there is none.
        """
        if not state.steps:
            raise ParameterError("there is no step to undo")
        return self.run(state.statement, state.steps[:-1], limits or AssistantLimits())
