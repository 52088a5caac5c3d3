"""Sequences generated and scored step by step: the common part of searches and particle methods."""

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
    Help("Rule that picks the answer: best, weighted or majority."),
]


def advance(
    states: Sequence[State], scorer: str, delimiter: str, lookahead: int = 0, **sampling: Any
) -> Part[tuple[list[State], list[float]]]:
    """Generate the next step of each sequence in parallel, and score the sequences up to that step.

    With lookahead, sequences are scored after that many further steps, generated at temperature 0; these are charged
    and then discarded. Other options are passed on to the `Extend` requests that write the steps.
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
    """Run the body until the budget is exhausted; the SpentError, if any, is added to the list."""
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
    """Choose the answer of finished completions by their last rewards.

    best: the answer of the completion with the largest reward among those with an answer, with ties going to the first;
    weighted: the answer with the largest sum of rewards; majority: the most frequent answer. Ties in votes go to the
    answer seen first.

    Raises
    ------
    ParameterError
        If the rule is unknown.
    SpentError
        If the budget ended the method, and no scored completion gives an answer.
    """
    one_of(FINALS, final=final)
    if final == "best":
        answer = pick(problem, states, rewards, **details)
    else:
        weights = rewards if final == "weighted" else None
        answer = elect(problem, states, weights, rewards=list(rewards), **details)
    return or_spent(answer, spent)


def or_spent(answer: Answer, spent: Sequence[SpentError]) -> Answer:
    """Return the answer; if the budget ended the method without one, raise the error so that all completions count."""
    if spent and answer.answer is None:
        raise spent[0]
    return answer
