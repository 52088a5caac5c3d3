"""Holes in a formal proof: they replace failing steps, and are closed by automatic tactics or by a model."""

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
"""A step that closes a goal with Rocq's automatic tactics, or fails; it needs `Require Import Lia Lra Psatz`."""

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
        The outcome of trying the proof.
    failure : FailureLabel or None
        The failure of the original proof.
    """

    steps: tuple[str, ...]
    tried: Tried
    failure: FailureLabel | None


def mend(claim: Claim, steps: Sequence[str], most: int) -> Part[Mended]:
    """Replace failing steps with holes, one after another, until the rest of the proof passes.

    Parameters
    ----------
    most : int
        Maximum number of attempts; a proof of n steps needs at most 2n + 1.
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
    """A hole in a proof: the index of its step, or the end of a proof that leaves goals open."""

    place: int
    width: int

    def filled(self, steps: tuple[str, ...], more: Sequence[str]) -> tuple[str, ...]:
        """Return the proof with the hole replaced by steps."""
        return (*steps[: self.place], *more, *steps[self.place + self.width :])


def gaps_of(claim: Claim, steps: tuple[str, ...], tried: Tried) -> list[Gap]:
    """Return the holes of a proof that passes, last first, so that filling one does not shift the others."""
    found = [Gap(place, 1) for place, step in enumerate(steps) if claim.assistant.is_hole(step)]
    return [*([Gap(len(steps), 0)] if tried.kind == "open" else []), *reversed(found)]


def automate(claim: Claim, steps: tuple[str, ...], tried: Tried, step: str) -> Part[tuple[tuple[str, ...], Tried]]:
    """Close the holes that a single step, such as `AUTOMATION`, can close; an empty step closes none."""
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
    """Parameters for closing the holes of a proof.

    Parameters
    ----------
    rounds : int
        Number of rounds in which the model fills holes left by the automation; a second round fills holes in the
        model's own output.
    tries : int
        Number of completions per hole and round.
    mends : int
        Maximum number of attempts when failing steps of a completion are replaced with holes.
    automation : str
        Step that closes a hole, or fails; empty for none.
    suggest : str
        Prompt template for the proof of a hole, with {assistant}, {statement}, {premises}, {proof} and {goals}.
    """

    rounds: Natural = 1
    tries: Count = 2
    mends: Count = 24
    automation: str = AUTOMATION
    suggest: str = CONTINUE


def close(
    problem: Problem, claim: Claim, steps: tuple[str, ...], tried: Tried, how: Closing
) -> Part[tuple[tuple[str, ...], Tried]]:
    """Close the holes of a proof with the automation step if it works, otherwise with steps written by the model."""
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
    """Sample completions for one hole, and keep the one that leaves the fewest holes; ties go to the first."""
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
