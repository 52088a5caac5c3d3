"""Holes of a formal proof: put in place of steps that fail, and closed by automatic tactics or by a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from intact.reason.limits import Count, Natural
from intact.reason.parts.interpreting import FENCE
from intact.reason.parts.proving import Claim, Tried, block_of
from intact.reason.problem import Problem
from intact.reason.registry import Part, SharedParameters
from intact.reason.requests import Extend
from intact.tools.prove.assistants.failures import FailureLabel

AUTOMATION: Final = (
    "intros; subst; solve [easy | tauto | lia | lra | ring | field | now vm_compute | timeout 5 nia | timeout 5 nra]"
)
"""A step that closes a goal by Rocq's automatic tactics, or fails; it needs `Require Import Lia Lra Psatz`."""

CONTINUE: Final = """\
A proof in {assistant} of this theorem is under way.

{statement}
{premises}
The proof so far:
{proof}

What is left to prove:
{goals}

Write the tactics that prove the first goal, and nothing else."""


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
class Closing(SharedParameters):
    """The parameters of closing the holes of a proof.

    Parameters
    ----------
    rounds : int
        How often the model is asked for holes that the automation leaves; in the second round for those in what it
        wrote.
    tries : int
        Texts for each such hole in a round.
    mends : int
        The most tries to put holes in place of what fails in a text.
    automation : str
        The step that closes a hole, or fails; empty for none.
    suggest : str
        How the proof of a hole is asked for, with {assistant}, {statement}, {premises}, {proof} and {goals}.
    """

    rounds: Natural = 1
    tries: Count = 2
    mends: Count = 24
    automation: str = AUTOMATION
    suggest: str = CONTINUE


def close(
    problem: Problem, claim: Claim, steps: tuple[str, ...], tried: Tried, how: Closing
) -> Part[tuple[tuple[str, ...], Tried]]:
    """Close the holes of a proof that stands: by one step where that does, else by what the model writes."""
    steps, tried = yield from automate(claim, steps, tried, how.automation)
    for _ in range(how.rounds):
        for gap in gaps_of(claim, steps, tried):
            steps, tried = yield from _fill(problem, claim, steps, tried, gap=gap, how=how)
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
    known = yield from claim.recall(here.rest)
    goals = here.rest or "(nothing)"
    request = claim.ask(problem.start, problem, how.suggest, before, goals=goals, premises=known)
    written = yield [Extend(claim.open_block(request), stop=(FENCE,))] * how.tries
    best: tuple[int, tuple[str, ...], Tried] | None = None
    for state in written:
        own = claim.assistant.split(block_of(state))
        if not own or state.broken_off:
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
