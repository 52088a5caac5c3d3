"""Methods as compositions of transformers: their declaration, and the final decision (docs/reasoning.md)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from intact._base.errors import ParameterError, SpentError
from intact.reason.aggregate.votes import elect, elected, pick, take
from intact.reason.aggregate.votes import vote as tally_of
from intact.reason.parts.particles import Trajectory
from intact.reason.parts.stepwise import settle
from intact.reason.problem import Answer, Problem, State
from intact.reason.registry import Method, Part
from intact.reason.requests import Extend
from intact.reason.weighted import Law, Weighted

Texts: TypeAlias = Weighted[State] | Weighted[Trajectory]

VOTE = Law("vote", "the answer of the largest mass", "no")
CHOOSE = Law("choose", "the answer of the text with the largest reward", "no")


def composed(composition: str, *laws: str) -> Callable[[Method], Method]:
    """Declare the composition of transformers that makes up a method, and the laws it obeys; placed above ``@method``.

    Parameters
    ----------
    composition : str
        Names of transformers in the order in which they are applied, such as ``start (sample weigh resample?)* vote``,
        with ``*``, ``?``, ``|`` and parentheses as in regular expressions.
    *laws : str
        Names from `intact.reason.testing.laws.METHOD_LAWS`.
    """
    composition_pattern(composition)

    def declare(method: Method) -> Method:
        return replace(method, composition=composition, laws=laws)

    return declare


def composition_pattern(composition: str) -> re.Pattern[str]:
    """Compile a composition to a pattern that matches the histories it allows, with a comma after each name.

    Raises
    ------
    ParameterError
        If it is not a valid pattern of names.
    """
    try:
        return re.compile(re.sub(r"\w+", r"(?:\g<0>,)", composition).replace(" ", ""))
    except re.error as error:
        raise ParameterError(f"{composition!r:.80} is not a composition: {error}") from error


def write(states: Sequence[State], **options: Any) -> Part[list[State]]:
    """Generate completions to their end, with options of `Extend`: the kernel of sampling methods."""
    written: list[State] = yield [Extend(state, **options) for state in states]
    return written


def state_of(value: State | Trajectory) -> State:
    """Return the state of a value: the value itself, or a trajectory's newest state."""
    return value if isinstance(value, State) else value.state


def vote(problem: Problem, texts: Texts, **details: Any) -> Answer:
    """Return the answer with the largest mass (`elect`); if all weights are 0, each completion has one vote."""
    states = [state_of(value) for value in texts.values]
    weights = texts.relative() if any(texts.weights) else None
    return _decided(elect(problem, states, weights, **details), texts, VOTE)


def vote_by(problem: Problem, texts: Texts, by: Sequence[float], **details: Any) -> Answer:
    """Return the answer with the largest mass; its chosen completion has the largest value in `by` (`elected`).

    If all completions with an answer have weight 0, each of them gets one vote.
    """
    states = [state_of(value) for value in texts.values]
    answers = problem.answers(states)
    counted = any(weight for weight, answer in zip(texts.weights, answers, strict=True) if answer is not None)
    tally = tally_of(answers, texts.relative() if counted else [1] * len(texts))
    return _decided(elected(tally, answers, states, by, **details), texts, VOTE)


def choose(problem: Problem, texts: Texts, rewards: Sequence[float], **details: Any) -> Answer:
    """Return the answer of the completion with the largest reward among those with an answer; ties go to the first."""
    states = [state_of(value) for value in texts.values]
    return _decided(pick(problem, states, rewards, **details), texts, CHOOSE)


def choose_any(problem: Problem, texts: Weighted[Trajectory], **details: Any) -> Answer:
    """Return the answer (possibly None) of the completion with the largest newest reward; ties go to the first."""
    rewards = [text.reward for text in texts]
    best = max(range(len(texts)), key=lambda i: (rewards[i], -i))
    return _decided(take(problem, texts.values[best].state, rewards=rewards, **details), texts, CHOOSE)


def decide(
    problem: Problem, texts: Weighted[Trajectory], final: str, spent: Sequence[SpentError] = (), **details: Any
) -> Answer:
    """Choose the answer of finished completions by their newest rewards: best, weighted or majority (`settle`)."""
    answer = settle(
        problem, [text.state for text in texts], [text.reward for text in texts], final, spent=spent, **details
    )
    return _decided(answer, texts, CHOOSE if final == "best" else VOTE)


def _decided(answer: Answer, texts: Texts, decision: Law) -> Answer:
    return replace(answer, population=replace(texts, history=(*texts.history, decision)))
