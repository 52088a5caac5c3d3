"""Proofs that one can read: each step with the goals behind it, and what the assistant said."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from intact.tools.prove.assistants.failures import FailureLabel


class ProofStep(NamedTuple):
    """A step of a proof.

    Attributes
    ----------
    text : str
        As it is written.
    line : int
        Where it begins in the file, from 1.
    goals : tuple of str
        What is left to prove behind it, the goal that the next step works on first.
    message : str
        What the assistant says besides: the error of a step that fails.
    failure : FailureLabel or None
        The label of the error.
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
"""Outcomes of a proof, in words."""


@dataclass(frozen=True)
class ProofTranscript:
    """The proof of a theorem, step by step.

    Attributes
    ----------
    name : str
        The theorem's.
    statement : str
        As the file states it.
    line : int
        Where that begins, from 1.
    goals : tuple of str
        What is to be proved before the first step.
    steps : tuple of ProofStep
        The steps, those that fail among them.
    kind : ProofKind
        The outcome.
    message : str
        The axioms that an accepted proof rests on, or why it is none.
    failure : FailureLabel or None
        Why it is no proof: the label of the first step that fails, else that of the outcome.
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
        """Return it with one more step; the first that fails is what counts of a proof."""
        return replace(self, steps=(*self.steps, step), failure=self.failure or step.failure)

    def end(self, kind: ProofKind, message: str, failure: FailureLabel | None) -> ProofTranscript:
        """Return it with its outcome, or as an error where a step failed."""
        wrong = next((one for one in self.steps if one.failure is not None), None)
        if wrong is not None:
            return replace(self, kind="error", message=f"line {wrong.line}: {wrong.message}")
        return replace(self, kind=kind, message=message, failure=failure)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return vars(self) | {"steps": [one._asdict() for one in self.steps]}
