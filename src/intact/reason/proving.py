"""Proofs as methods write them: a statement, steps that an assistant tries, holes and what closes them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Final, NamedTuple, TypeAlias, cast

from intact.prove.assistants import ASSISTANTS, find_assistant
from intact.prove.assistants.base import Assistant, ProofKind
from intact.prove.assistants.failures import FailureLabel, count_failures
from intact.reason.interpreting import FENCE
from intact.reason.limits import one_of
from intact.reason.problem import Answer, Problem, State
from intact.reason.prompting import make_prompt, question, read_value
from intact.reason.registry import Part
from intact.reason.requests import Extend, Use

AssistantName: TypeAlias = Annotated[str, partial(one_of, ASSISTANTS)]
"""The name of a proof assistant."""

AUTOMATION: Final = (
    "intros; subst; solve [easy | tauto | lia | lra | ring | field | now vm_compute | timeout 5 nia | timeout 5 nra]"
)
"""A step that closes a goal by Rocq's automatic tactics, or fails; it needs `Require Import Lia Lra Psatz`."""

SUGGEST: Final = """\
A proof in {assistant} of this theorem is under way.

{statement}

The proof so far:
{proof}

What is left to prove:
{goals}

Write the next tactic, on one line, and nothing else."""

CONTINUE: Final = """\
A proof in {assistant} of this theorem is under way.

{statement}

The proof so far:
{proof}

What is left to prove:
{goals}

Write the tactics that prove the first goal, and nothing else."""

_BLOCK: Final = re.compile(r"```[^\n]*\n(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Claim:
    """A statement to prove, and the assistant that judges.

    Attributes
    ----------
    name : str
        The assistant's name.
    statement : str
        The text before the proof.
    seconds : float
        What a try may take, wall time.
    """

    name: str
    statement: str
    seconds: float

    @classmethod
    def of(cls, problem: Problem, name: str, statement: str, seconds: float) -> Claim:
        """Take the statement of a problem, where none is given: a block of code in its question, else all of it."""
        text = question(problem)
        found = _BLOCK.search(text)
        return cls(name, statement or (found[1] if found else text), seconds)

    @property
    def assistant(self) -> Assistant:
        """The assistant."""
        return find_assistant(self.name)

    def attempt(self, steps: Sequence[str]) -> Part[Tried]:
        """Try the steps of a proof."""
        values = {"statement": self.statement, "steps": list(steps), "assistant": self.name, "seconds": self.seconds}
        result = yield Use("proof", values)
        return Tried.of(result.text, self.assistant)

    def ask(self, begun: State, problem: Problem, template: str, steps: Sequence[str] = (), **values: str) -> State:
        """Begin a text at a place of the tree that a template asks for.

        The template may have {assistant}, {statement}, {proof} and the names of values.
        """
        known = {
            "assistant": self.assistant.title,
            "statement": self.statement.strip(),
            "proof": self.assistant.join(tuple(steps)) or "(nothing yet)",
        }
        return begun.ask(make_prompt(problem, template, **(known | values)))

    def open_block(self, state: State) -> State:
        """Return a text that goes on within a block of the assistant's code."""
        return state.append(f"{FENCE}{self.name}\n")


class Tried(NamedTuple):
    """The outcome of trying the steps of a proof.

    Attributes
    ----------
    kind : str
        One of `intact.prove.assistants.base.PROOF_KINDS`.
    failed : int or None
        The place of the step that failed, from 0.
    rest : str
        The goals that are left, or the message.
    failure : FailureLabel or None
        Why this is no proof (`intact.prove.assistants.failures.FAILURES`).
    """

    kind: ProofKind
    failed: int | None
    rest: str
    failure: FailureLabel | None

    @classmethod
    def of(cls, text: str, assistant: Assistant) -> Tried:
        """Read it from what the tool `proof` gives."""
        first, _, rest = text.partition("\n")
        word, _, number = first.partition(" ")
        kind = cast(ProofKind, word)
        return cls(kind, int(number) - 1 if number else None, rest, assistant.failure(kind, rest))

    @property
    def stands(self) -> bool:
        """If true, no step failed, holes or not."""
        return self.kind in ("open", "hole", "proved")


def block_of(state: State) -> str:
    """Return the text of the block of code that a model was made to begin with, without what ends it."""
    return state.last.partition(FENCE)[0].strip("\n")


class Mended(NamedTuple):
    """A proof with holes in place of the steps that failed.

    Attributes
    ----------
    tried : Tried
        Its outcome.
    failure : FailureLabel or None
        Why it was no proof as it was written.
    """

    steps: tuple[str, ...]
    tried: Tried
    failure: FailureLabel | None


def mend(claim: Claim, steps: Sequence[str], most: int) -> Part[Mended]:
    """Put holes in place of steps that fail, one after the other, until the rest stands.

    Parameters
    ----------
    most : int
        The most tries; a proof of n steps has at most 2n + 1.
    """
    found = tuple(steps)
    tried = yield from claim.attempt(found)
    failure = tried.failure
    for _ in range(min(most, 2 * len(found) + 1)):
        if tried.kind != "error" or tried.failed is None:
            break
        found = claim.assistant.without(found, tried.failed, tried.rest)
        tried = yield from claim.attempt(found)
    return Mended(found, tried, failure)


class Gap(NamedTuple):
    """A hole in a proof: the place of its step, or the end of a proof that leaves goals."""

    place: int
    width: int

    def filled(self, steps: tuple[str, ...], more: Sequence[str]) -> tuple[str, ...]:
        """Return the proof with steps in place of the hole."""
        return (*steps[: self.place], *more, *steps[self.place + self.width :])


def gaps_of(claim: Claim, steps: tuple[str, ...], tried: Tried) -> list[Gap]:
    """Return the holes of a proof that stands, the last first, so that filling one moves no other."""
    found = [Gap(place, 1) for place, step in enumerate(steps) if claim.assistant.is_hole(step)]
    return [*([Gap(len(steps), 0)] if tried.kind == "open" else []), *reversed(found)]


def automate(claim: Claim, steps: tuple[str, ...], tried: Tried, step: str) -> Part[tuple[tuple[str, ...], Tried]]:
    """Close the holes of a proof that one step closes, such as `AUTOMATION`; none if the step is empty."""
    for gap in gaps_of(claim, steps, tried) if step and tried.stands else []:
        if gap.width:
            closed = yield from claim.attempt([*steps[: gap.place], step])
            if closed.stands:
                steps = gap.filled(steps, [step])
    changed = yield from claim.attempt(steps)
    while changed.kind == "open" and step:
        more = yield from claim.attempt([*steps, step])
        if not more.stands:
            break
        steps, changed = (*steps, step), more
    return steps, changed


@dataclass(frozen=True)
class Closing:
    """Settings for closing the holes of a proof.

    Attributes
    ----------
    rounds : int
        How often the model is asked for what the automation leaves: in the second round for holes in what it wrote.
    n : int
        Texts for each hole in a round.
    mends : int
        The most tries to mend a text.
    automation : str
        A step that closes a goal, or fails; empty for none.
    template : str
        How more is asked for, with {assistant}, {statement}, {proof} and {goals}.
    """

    rounds: int
    n: int
    mends: int
    automation: str
    template: str


def close(
    problem: Problem, claim: Claim, steps: tuple[str, ...], tried: Tried, how: Closing
) -> Part[tuple[tuple[str, ...], Tried]]:
    """Close the holes of a proof that stands: by one step where that does, else by what the model writes."""
    steps, tried = yield from automate(claim, steps, tried, how.automation)
    for _ in range(how.rounds):
        for gap in gaps_of(claim, steps, tried):
            steps, tried = yield from _fill(problem, claim, steps, tried, gap, how)
            if tried.kind == "proved":
                return steps, tried
        steps, tried = yield from automate(claim, steps, tried, how.automation)
        if tried.kind == "proved":
            break
    return steps, tried


def _fill(
    problem: Problem, claim: Claim, steps: tuple[str, ...], tried: Tried, gap: Gap, how: Closing
) -> Part[tuple[tuple[str, ...], Tried]]:
    """Ask for texts for one hole, and take the one that leaves the fewest holes, of equals the first."""
    before, after = steps[: gap.place], steps[gap.place + gap.width :]
    here = yield from claim.attempt(before)
    request = claim.ask(problem.start, problem, how.template, before, goals=here.rest or "(nothing)")
    written = yield [Extend(claim.open_block(request), stop=(FENCE,))] * how.n
    best: tuple[int, tuple[str, ...], Tried] | None = None
    for state in written:
        own = claim.assistant.split(block_of(state))
        if not own or state.why in ("budget", "error"):
            continue
        enclosed = claim.assistant.enclose(own) if gap.width else own
        mended, found, _ = yield from mend(claim, (*before, *enclosed, *after), how.mends)
        if not found.stands or mended[: len(before)] != before:
            continue
        left = len(gaps_of(claim, mended, found))
        if best is None or left < best[0]:
            best = left, mended, found
        if found.kind == "proved":
            break
    return (steps, tried) if best is None else best[1:]


class Attempts:
    """The failures of a method's attempts, and the answer that it gives.

    Attributes
    ----------
    failures : list of FailureLabel or None
        Why each attempt failed.
    """

    def __init__(self, problem: Problem, claim: Claim) -> None:
        self.problem, self.claim = problem, claim
        self.failures = list[FailureLabel | None]()

    def proved(self, steps: Sequence[str], chosen: State | None, **details: object) -> Answer:
        """Return the answer that a proof is, of which the assistant accepted every step."""
        answer = read_value(self.problem, self.claim.assistant.join(tuple(steps)))
        votes = {} if answer is None else {answer: 1.0}
        return Answer(answer, votes, None, chosen, details | {"failures": count_failures(self.failures)})

    def none(self, **details: object) -> Answer:
        """Return the answer of a method that found no proof."""
        return Answer(None, details=details | {"failures": count_failures(self.failures)})
