"""Metamath: databases checked by this package's own checker, and proofs written label by label."""

from __future__ import annotations

import re
from collections.abc import Mapping
from threading import Event
from typing import ClassVar, Final

from intact._base.errors import FormatError, ParameterError
from intact.tools.prove.assistants import database
from intact.tools.prove.assistants.base import (
    Assistant,
    AssistantLimits,
    FileError,
    FileReport,
    KnownStatements,
    ProofState,
)
from intact.tools.prove.assistants.database import Assertion, ProofError, Stack
from intact.tools.prove.assistants.failures import FailureLabel
from intact.tools.prove.assistants.transcript import ProofStep, ProofTranscript

MOST_LABELS: Final = 100_000
"""Maximum number of labels in a proof."""

ERRORS: Final[Mapping[FailureLabel, re.Pattern[str]]] = {
    "unknown name": re.compile(r"there is no (?:hypothesis or earlier assertion|active symbol)"),
    "forbidden": re.compile(r"a step is left out"),
    "resource limit": re.compile(r"a proof may have|an expression may have|a database may have"),
    "unsolved goals": re.compile(r"it proves .*, not "),
    "type error": re.compile(r"needs \S+ for \S+, and the stack holds"),
    "parse error": re.compile(
        r"^line \d+:|the file ends|the comment|compressed proof|a statement is a database that ends"
    ),
}
"""Patterns of the checker's messages by failure label; an assertion that does not fit the stack is a failed tactic."""


class MetamathAssistant(Assistant):
    """The built-in checker, which is always available, starts no process and has no time limit.

    The statement is a database whose last theorem is to be proved; the proof given there, such as `?`, is ignored. A
    step is one or more labels, in the order of a normal proof. The remaining goal is shown as the theorem and the
    stack: a proof ends when the stack holds only the theorem.
    """

    name = "metamath"
    title = "Metamath"
    ending = ".mm"
    errors: ClassVar[Mapping[FailureLabel, re.Pattern[str]]] = ERRORS
    is_process = False
    shows = "stack"

    def missing(self) -> str | None:
        """Return None: the checker is always available."""
        return None

    def version(self) -> str:
        """Return the version of the checker."""
        return "intact 1"

    def run(
        self, statement: str, steps: tuple[str, ...], limits: AssistantLimits, stop: Event | None = None
    ) -> ProofState:
        """Run a proof up to the first step that fails, and return the resulting state."""
        try:
            read = database.read(statement)
            theorem = _last_theorem(read)
        except FormatError as error:
            return ProofState(statement, steps, "error", message=str(error))
        stack = Stack(read, theorem)
        if sum(len(step.split()) for step in steps) > MOST_LABELS:
            return ProofState(statement, steps, "error", message=f"a proof may have {MOST_LABELS:,} labels", failed=0)
        for place, step in enumerate(steps):
            try:
                for label in step.split():
                    stack.apply(label)
            except ProofError as error:
                return ProofState(statement, steps, "error", message=str(error), failed=place)
        if stack.items == [theorem.symbols]:
            return ProofState(statement, steps, "proved")
        wanted = [f"to prove: {' '.join(theorem.symbols)}"]
        given = [f"given {one.label}: {' '.join(one.symbols)}" for one in theorem.active.values()]
        held = [f"stack: {' '.join(one)}" for one in stack.items]
        return ProofState(statement, steps, "open", ("\n".join([*given, *wanted, *held]),))

    def known(self, statement: str, limits: AssistantLimits, stop: Event | None = None) -> KnownStatements:
        """Return the assertions before the theorem, each with its essential hypotheses."""
        try:
            read = database.read(statement)
            theorem = _last_theorem(read)
        except FormatError as error:
            raise ParameterError(f"the statement fails: {error}") from None
        return KnownStatements(tuple(map(describe, database.before(read, theorem))))

    def transcripts(self, text: str, limits: AssistantLimits, theorem: str = "") -> tuple[list[ProofTranscript], str]:
        """Return the proofs of a database label by label; the goals after each label are the stack."""
        try:
            read = database.read(text)
        except FormatError as error:
            raise ParameterError(f"the file fails: {error}") from None
        proved = [one for one in read.assertions.values() if one.proof is not None and theorem in ("", one.label)]
        return [self._transcript(read, one) for one in proved], ""

    def _transcript(self, read: database.Database, theorem: Assertion) -> ProofTranscript:
        wanted = " ".join(theorem.symbols)
        given = [f"given {one.label}: {' '.join(one.symbols)}" for one in theorem.hypotheses if not one.floating]
        found = ProofTranscript(theorem.label, wanted, theorem.line, ("\n".join([*given, f"to prove: {wanted}"]),))
        stack = Stack(read, theorem)
        try:
            for label in stack.walk(theorem.proof or ()):
                found = found.add(ProofStep(label, theorem.line, tuple([" ".join(one) for one in stack.items])))
            if stack.items == [theorem.symbols]:
                return found.end("proved", "", None)
            message = f"it proves {stack}, not {wanted}"
        except ProofError as error:
            message = str(error)
        failure = self.failure("error", message)
        return found.end("hole" if failure == "forbidden" else "error", message, failure)

    def check(self, text: str, limits: AssistantLimits) -> FileReport:
        """Check a database: report where it is malformed or, if it is well-formed, every invalid proof."""
        try:
            read = database.read(text)
        except FormatError as error:
            return FileReport((FileError(_line_in(str(error)), 1, str(error)),))
        errors, holes = list[FileError](), list[int]()
        for one in read.assertions.values():
            if one.proof is None:
                continue
            if any("?" in token for token in one.proof):
                holes.append(one.line)
                continue
            try:
                database.verify(read, one)
            except ProofError as error:
                errors.append(FileError(one.line, 1, f"{one.label}: {error}"))
        axioms = [one.label for one in read.assertions.values() if one.proof is None]
        return FileReport(tuple(errors), tuple(holes), tuple(axioms))


def describe(assertion: Assertion) -> str:
    """Return an assertion on one line: label, essential hypotheses, and conclusion."""
    given = [" ".join(one.symbols) for one in assertion.hypotheses if not one.floating]
    return f"{assertion.label} : {' & '.join(given)}{' => ' if given else ''}{' '.join(assertion.symbols)}"


def _last_theorem(read: database.Database) -> Assertion:
    found = [one for one in read.assertions.values() if one.proof is not None]
    if not found:
        raise FormatError("a statement is a database that ends with a theorem to prove (NAME $p ... $= ? $.)")
    return found[-1]


def _line_in(message: str) -> int:
    words = message.split(":")[0].split()
    return int(words[1]) if words[:1] == ["line"] and len(words) == 2 else 1
