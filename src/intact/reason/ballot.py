"""From a vote among texts to an `Answer`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
    return Answer(problem.read(state.text), {}, None, state, details)
