"""From a vote among texts to an `Answer`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from intact.reason.aggregate.best import best_of_n
from intact.reason.aggregate.votes import Tally, vote
from intact.reason.answer import Answer
from intact.reason.exact import Number
from intact.reason.problem import Problem
from intact.reason.state import State


def elect(problem: Problem, states: Sequence[State], weights: Sequence[Number] | None = None, **details: Any) -> Answer:
    """The answer with the most weight (1 each by default); ties go to the answer seen first.

    Texts without an answer do not vote. The chosen text is the first of the largest weight that gives the answer.
    """
    answers = problem.answers(states)
    return elected(vote(answers, weights), answers, states, weights, **details)


def elected(
    tally: Tally[str],
    answers: Sequence[str | None],
    states: Sequence[State],
    weights: Sequence[Number] | None = None,
    **details: Any,
) -> Answer:
    """An `Answer` from the outcome of a vote."""
    votes = {name: float(mass) for name, mass in sorted(tally.weights.items(), key=lambda item: -item[1])}
    if tally.answer is None:
        return Answer(None, votes, None, None, details)
    behind = [i for i, answer in enumerate(answers) if answer == tally.answer]
    chosen = max(behind, key=lambda i: (0 if weights is None else weights[i], -i))
    return Answer(tally.answer, votes, tally.confidence, states[chosen], details)


def take(problem: Problem, state: State, **details: Any) -> Answer:
    """The answer of one text."""
    return Answer(problem.answer(state), {}, None, state, details)


def pick(problem: Problem, states: Sequence[State], rewards: Sequence[float], **details: Any) -> Answer:
    """The answer of the text with the largest reward, of equals the first; with an answer, as long as one has any."""
    answers = problem.answers(states)
    silent = all(answer is None for answer in answers)
    winner = best_of_n([r if silent or a is not None else None for r, a in zip(rewards, answers, strict=True)])
    if winner is None:
        return Answer(None)
    return Answer(answers[winner], {}, None, states[winner], {"rewards": list(rewards), **details})
