"""Rocq (formerly Coq): its toplevel as a process without network access, one process per attempted proof."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from threading import Event
from typing import ClassVar, Final

from intact._base.errors import FormatError, NotInstalledError, ParameterError
from intact.tools.prove.assistants.base import (
    MEMORY,
    Assistant,
    AssistantLimits,
    FileError,
    FileReport,
    KnownStatements,
    ProofState,
)
from intact.tools.prove.assistants.failures import FailureLabel
from intact.tools.prove.assistants.rocq_output import (
    ERRORS,
    RocqReply,
    conclude,
    declared_names,
    listed_statements,
    read_goals,
)
from intact.tools.prove.assistants.sentences import (
    Sentence,
    before_proof,
    block_end,
    is_bullet,
    is_end,
    proof_in,
    split,
    tactics,
    theorem_name,
)
from intact.tools.prove.assistants.transcript import ProofStep, ProofTranscript
from intact.tools.prove.provers import digest
from intact.tools.sandbox import ProgramLimits, run_command

PROGRAM: Final = "coqtop"
OPTIONS: Final = ("-q", "-emacs")
"""Options: read no user files; print prompts with state numbers to standard error."""
FILES: Final = (Path("/etc/ocamlfind.conf"),)
"""Files that Debian's executable reads in addition to the system libraries."""
OUTPUT: Final = 4 << 20
"""Maximum output of a run, in bytes."""

SEARCH: Final = "Search [ is:Theorem | is:Lemma | is:Fact | is:Remark | is:Corollary | is:Proposition | is:Axiom ]."
"""Command that lists all statements known at a given point."""
MOST_LISTS: Final = 8
"""Maximum number of cached lists, each of about 10,000 statements."""

HOLE: Final = "admit."
NO_GOAL: Final = ("No such goal", "No more subgoals", "no focused goal", "No focused proof", "no more goals")
"""Error messages for a step when no goals are left."""

_PROMPT: Final = re.compile(r"<prompt>[^<\n]+ < \d+ \|[^|\n]*\| \d+ < </prompt>")
_INFO: Final = re.compile(r"<(infomsg|warning)>.*?</\1>\n?", re.DOTALL)


class RocqAssistant(Assistant):
    """Rocq, as in Debian's package coq.

    All sentences are written to the toplevel's standard input, one per line, each followed by a query with a name that
    no text can contain. This separates the outputs, no matter what a tactic prints. A proof counts as accepted if the
    toplevel lists its axioms after `Qed`. The sentences of a proof must be tactics, so that they can neither assume
    anything nor change the statement.
    """

    name = "rocq"
    title = "Rocq"
    ending = ".v"
    errors: ClassVar[Mapping[FailureLabel, re.Pattern[str]]] = ERRORS

    def __init__(self) -> None:
        self._listed: dict[bytes, tuple[str, ...]] = {}

    def path(self) -> Path | None:
        """Return the path of the executable, or None if it is not found."""
        found = shutil.which(PROGRAM)
        return None if found is None else Path(found)

    def missing(self) -> str | None:
        """Say what is missing on this machine and how to install it; return None if the assistant can run."""
        if self.path() is not None:
            return None
        return f"Rocq is not installed: the program {PROGRAM} is not on the path; install Debian's package coq"

    def version(self) -> str:
        """Return the digest of the program; empty if not installed."""
        path = self.path()
        return "" if path is None else f"{PROGRAM} sha256:{digest(path.resolve())}"

    def split(self, text: str) -> tuple[str, ...]:
        """Return the tactics, bullets and braces of a proof; for a whole file, use its last proof."""
        return tuple([one.text for one in proof_in(text)])

    def join(self, steps: tuple[str, ...]) -> str:
        """Return a proof with one sentence per line, each ending in a full stop."""
        return "\n".join([one.text for step in steps for one in proof_in(step)])

    def is_hole(self, step: str) -> bool:
        """Return true if a step is `admit` or `give_up`."""
        return Sentence(step).is_hole

    def enclose(self, steps: tuple[str, ...]) -> tuple[str, ...]:
        """Return the steps enclosed in braces."""
        return ("{", *steps, "}")

    def without(self, steps: tuple[str, ...], failed: int, message: str) -> tuple[str, ...]:
        """Return a proof with `admit` in place of a failing step and the rest of its block.

        Before a bullet or closing brace that fails, the goal in focus is admitted; if no goal is left, the failing
        steps are dropped.
        """
        step, before = steps[failed], steps[:failed]
        end = block_end(steps, failed)
        if any(words in message for words in NO_GOAL):
            return (*before, *steps[end:])
        if step == "}" or is_bullet(step):
            if before and self.is_hole(before[-1]):
                return (*before, *steps[end:])
            return (*before, HOLE, *steps[failed:])
        return (*before, HOLE, *steps[end:])

    def run(
        self, statement: str, steps: tuple[str, ...], limits: AssistantLimits, stop: Event | None = None
    ) -> ProofState:
        """Run a proof up to the first step that fails, and return the resulting state."""
        try:
            given = before_proof(statement)
        except FormatError as error:
            return ProofState(statement, steps, "error", message=str(error))
        sentences, owners = [one.text for one in given], [-1] * len(given)
        refused: tuple[int, str] | None = None
        for place, step in enumerate(steps):
            try:
                found = tactics(step)
            except FormatError as error:
                refused = place, str(error)
                break
            sentences += [one.text for one in found]
            owners += [place] * len(found)
        name = theorem_name(given[-1])
        ends = ["Show.", "Qed.", f"Print Assumptions {name}."]
        replies, limit = self.converse([*sentences, *ends], limits, stop)
        if limit:
            return ProofState(statement, steps, "limit", message=limit, settled=False)
        for owner, reply in zip(owners, replies, strict=False):
            if reply.error:
                return ProofState(statement, steps, "error", message=reply.reason, failed=None if owner < 0 else owner)
        if refused is not None:
            return ProofState(statement, steps, "error", message=refused[1], failed=refused[0])
        goals, ended, assumed = replies[-3:]
        state = ProofState(statement, steps, "open", read_goals(goals.output))
        return conclude(state, ended, assumed, declared_names(given[:-1]))

    def known(self, statement: str, limits: AssistantLimits, stop: Event | None = None) -> KnownStatements:
        """Return the statements that `Search` lists before the theorem: lemmas and axioms of all loaded libraries.

        The list is cached for later goals with the same text, since it depends only on the text and the executable.
        """
        try:
            given = [one.text for one in before_proof(statement)[:-1]]
        except FormatError as error:
            raise ParameterError(f"the statement fails: {error}") from None
        key = sha256("\0".join([self.version(), *given]).encode("utf-8", "surrogatepass")).digest()
        if key not in self._listed:
            replies, limit = self.converse([*given, SEARCH], limits, stop)
            if limit:
                return KnownStatements(limit=limit)
            if wrong := [one.reason for one in replies if one.error]:
                raise ParameterError(f"the text before the theorem fails: {wrong[0]}")
            if len(self._listed) >= MOST_LISTS:
                self._listed.clear()
            self._listed[key] = listed_statements(replies[-1].output)
        return KnownStatements(self._listed[key])

    def transcripts(self, text: str, limits: AssistantLimits, theorem: str = "") -> tuple[list[ProofTranscript], str]:
        """Return the proofs of a file, with the goals after each sentence, and the limit that ended the run."""
        try:
            sentences = split(text)
        except FormatError as error:
            raise ParameterError(f"the file fails: {error}") from None
        commands, places, name = list[str](), list[int](), ""
        for one in sentences:
            name = theorem_name(one) or name
            places.append(len(commands))
            commands += [one.text, "Show.", *([f"Print Assumptions {name}."] if name and is_end(one) else [])]
        replies, limit = self.converse(commands, limits)
        if limit:
            return [], limit
        found = list[ProofTranscript]()
        begun: ProofTranscript | None = None
        for number, (one, at) in enumerate(zip(sentences, places, strict=True)):
            reply, goals = replies[at], read_goals(replies[at + 1].output)
            if begun is None:
                begun = None
                if (named := theorem_name(one)) is not None and goals and not reply.error:
                    begun = ProofTranscript(named, one.text, one.line, goals)
            elif is_end(one) and not reply.error:
                state = ProofState(begun.statement, (), "open", begun.steps[-1].goals if begun.steps else begun.goals)
                ended = conclude(state, reply, replies[at + 2], declared_names(sentences[: number + 1]))
                found.append(begun.end(ended.kind, ended.message, self.failure(ended.kind, ended.message)))
                begun = None
            elif reply.error or not one.text.startswith("Proof"):
                label = self.failure("error", reply.reason) if reply.error else None
                begun = begun.add(ProofStep(one.text, one.line, goals, self._message(one, reply), failure=label))
        if begun is not None:
            found.append(begun.end("open", "the file ends within the proof", "unsolved goals"))
        return [one for one in found if theorem in ("", one.name)], ""

    @staticmethod
    def _message(sentence: Sentence, reply: RocqReply) -> str:
        """Return the message for a sentence, in addition to the goals."""
        if sentence.is_tactic and not reply.error:
            return "a goal is given up" if sentence.is_hole else ""
        return reply.reason or reply.output.strip()

    def check(self, text: str, limits: AssistantLimits) -> FileReport:
        """Check a whole file, continuing after errors as an editor does."""
        try:
            sentences = split(text)
        except FormatError as error:
            return FileReport((FileError(1, 1, str(error)),))
        replies, limit = self.converse([one.text for one in sentences], limits)
        if limit:
            return FileReport(limit=limit)
        errors = [
            FileError(one.line, one.column + reply.place, reply.reason)
            for one, reply in zip(sentences, replies, strict=True)
            if reply.error
        ]
        holes = sorted({one.line for one in sentences if one.is_hole or one.text.startswith("Admitted")})
        assumed = [one.text for one in sentences if re.match(r"(?:Axioms?|Parameters?|Conjecture)\b", one.text)]
        return FileReport(tuple(errors), tuple(holes), tuple(assumed))

    def converse(
        self, sentences: Sequence[str], limits: AssistantLimits, stop: Event | None = None
    ) -> tuple[list[RocqReply], str]:
        """Return the toplevel's reply to each sentence, and a description of the limit that ended the run, or "".

        Raises
        ------
        NotInstalledError
            If the assistant is not installed.
        SandboxError
            If its process cannot be sandboxed on this machine.
        """
        path = self.path()
        if path is None:
            raise NotInstalledError(str(self.missing()))
        secret = sha256("\0".join(sentences).encode("utf-8", "surrogatepass")).hexdigest()[:32]  # to fit on a line
        marks = [f"mark_{secret}_{place}" for place in range(len(sentences))]
        lines = [line for one, mark in zip(sentences, marks, strict=True) for line in (one, f"Locate {mark}.")]
        allowed = replace(ProgramLimits.of(limits.seconds), memory=MEMORY, output=OUTPUT)
        outcome = run_command(path, OPTIONS, "\n".join([*lines, ""]), allowed, files=FILES, stop=stop)
        if not outcome.ok:
            return [], f"{PROGRAM} ended by {outcome.ended}, status {outcome.status}"
        outputs, rest = list[str](), outcome.stdout
        for mark in marks:
            before, found, rest = rest.partition(f"No object of basename {mark}\n")
            if not found:
                return [], f"{PROGRAM} wrote what cannot be read"
            outputs.append(_INFO.sub("", before))
        errors = [_INFO.sub("", one) for one in _PROMPT.split(outcome.stderr)[1:]]
        if len(errors) < 2 * len(sentences):
            return [], f"{PROGRAM} wrote what cannot be read"
        found_errors = [one.strip() if "Error:" in one else "" for one in errors[: 2 * len(sentences) : 2]]
        return [RocqReply(*both) for both in zip(outputs, found_errors, strict=True)], ""
