"""Proof transcripts: each step with the goals that remain after it, and the assistant's messages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from intact.tools.prove.assistants.failures import FailureLabel


class ProofStep(NamedTuple):
    """A step of a proof.

    Attributes
    ----------
    text : str
        Source text of the step.
    line : int
        Line of the file on which the step begins, counted from 1.
    goals : tuple of str
        Goals that remain after the step; the next step works on the first.
    message : str
        Other output of the assistant, such as the error of a failing step.
    failure : FailureLabel or None
        Label of the error.
    """

    text: str
    line: int
    goals: tuple[str, ...] = ()
    message: str = ""
    failure: FailureLabel | None = None


ProofKind: TypeAlias = Literal["proved", "open", "error", "hole", "limit"]

PROOF_KINDS: Final[dict[ProofKind, str]] = {
    "proved": "nothing is left to prove, and the whole proof was accepted",
    "open": "goals are left",
    "error": "a step failed, or the statement itself",
    "hole": "nothing is left to prove, but a step gave a goal up, or assumed what nobody allows",
    "limit": "the assistant ran into a limit, which is no verdict",
}
"""Description of each result of a proof."""


@dataclass(frozen=True)
class ProofTranscript:
    """The proof of a theorem, step by step.

    Attributes
    ----------
    name : str
        Name of the theorem.
    statement : str
        Statement as it appears in the file.
    line : int
        Line on which the statement begins, counted from 1.
    goals : tuple of str
        Goals before the first step.
    steps : tuple of ProofStep
        All steps, including failing ones.
    kind : ProofKind
        Result of the proof.
    message : str
        Axioms that an accepted proof depends on, or the reason why it is not accepted.
    failure : FailureLabel or None
        Label of the first failing step or, if no step failed, of the result.
    """

    name: str
    statement: str
    line: int
    goals: tuple[str, ...]
    steps: tuple[ProofStep, ...] = ()
    kind: ProofKind = "open"
    message: str = ""
    failure: FailureLabel | None = None

    def add(self, step: ProofStep) -> ProofTranscript:
        """Return the transcript with one more step; the failure label is that of the first failing step."""
        return replace(self, steps=(*self.steps, step), failure=self.failure or step.failure)

    def end(self, kind: ProofKind, message: str, failure: FailureLabel | None) -> ProofTranscript:
        """Return the transcript with its result, which is an error if a step failed."""
        wrong = next((one for one in self.steps if one.failure is not None), None)
        if wrong is not None:
            return replace(self, kind="error", message=f"line {wrong.line}: {wrong.message}")
        return replace(self, kind=kind, message=message, failure=failure)

    def as_dict(self) -> dict[str, Any]:
        """Return the transcript as a JSON object."""
        return vars(self) | {"steps": [one._asdict() for one in self.steps]}
