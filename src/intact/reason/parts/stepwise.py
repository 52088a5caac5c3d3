"""Texts written step by step under a scorer's eye: what searches and particle methods have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any, TypeAlias

from intact._base.errors import SpentError
from intact.reason.aggregate.votes import elect, pick
from intact.reason.limits import Help, Need, Needs, one_of
from intact.reason.problem import Answer, Problem, State
from intact.reason.registry import Part
from intact.reason.requests import Extend, Score

FINALS = ("best", "weighted", "majority")
FinalRule: TypeAlias = Annotated[
    str,
    partial(one_of, FINALS),
    Needs(weighted=Need(0)),
    Help("How ended texts make the answer: best, weighted or majority."),
]


def advance(
    states: Sequence[State], scorer: str, delimiter: str, lookahead: int = 0, **sampling: Any
) -> Part[tuple[list[State], list[float]]]:
    """Write the next step of each text, side by side, and judge the texts up to there.

    With lookahead, texts are judged as they stand after so many further steps, each the likeliest by temperature 0;
    these are charged, and thrown away. Other options are those of `Extend` by which steps are written.
    """
    extended = yield [Extend(state, stop=(delimiter,), **sampling) for state in states]
    seen = extended
    for _ in range(lookahead):
        if not all(state.ended for state in seen):
            seen = yield [Extend(state, stop=(delimiter,), temperature=0.0) for state in seen]
    rewards = yield Score(scorer, seen)
    return extended, rewards


@contextmanager
def until_spent() -> Iterator[list[SpentError]]:
    """Go on until the budget is spent; the error that says so, if it does, is in the list."""
    spent: list[SpentError] = []
    try:
        yield spent
    except SpentError as error:
        spent.append(error)


def settle(
    problem: Problem,
    states: Sequence[State],
    rewards: Sequence[float],
    final: str,
    spent: Sequence[SpentError] = (),
    **details: Any,
) -> Answer:
    """Return the answer of texts that are over, by their last rewards.

    best: that of the text with the largest reward that has an answer, of equals the first; weighted: the one with the
    largest sum of rewards; majority: the one that most give. Ties of votes go to the answer seen first.

    Raises
    ------
    ParameterError
        If there is no such way.
    SpentError
        If the budget ended it, and none of what was judged by then gives an answer.
    """
    one_of(FINALS, final=final)
    if final == "best":
        answer = pick(problem, states, rewards, **details)
    else:
        weights = rewards if final == "weighted" else None
        answer = elect(problem, states, weights, rewards=list(rewards), **details)
    return or_spent(answer, spent)


def or_spent(answer: Answer, spent: Sequence[SpentError]) -> Answer:
    """Return the answer, or raise the error where the budget ended a method that has none: then all texts count."""
    if spent and answer.answer is None:
        raise spent[0]
    return answer
