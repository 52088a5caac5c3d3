"""Votes and the answers they elect."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Generic, NamedTuple, TypeVar

from intact._base.errors import ParameterError
from intact._base.exact import Number, rational, weight
from intact.reason.aggregate.best import best_of_n
from intact.reason.problem import Answer, Problem, State

A = TypeVar("A", bound=Hashable)
"""The type of answers: any hashable value."""


class Tally(NamedTuple, Generic[A]):
    """The outcome of a vote.

    Attributes
    ----------
    answer : hashable or None
        The answer with the largest weight, with ties going to the one seen first; None if there are no votes or all
        weights are 0.
    weights : mapping
        The exact weight of each answer, in the order in which answers were seen.
    """

    answer: A | None
    weights: Mapping[A, Fraction]

    @property
    def share(self) -> Fraction:
        """The winner's share of the total weight; 0 if there is no winner."""
        return self.weights[self.answer] / sum(self.weights.values()) if self.answer is not None else Fraction(0)


def vote(answers: Sequence[A | None], weights: Sequence[Number] | None = None) -> Tally[A]:
    """Return the answer with the most weight, `argmax_a sum_{i: a_i = a} w_i`.

    Without weights, this is the majority vote of self-consistency (Wang et al. 2022, arXiv 2203.11171). Sums are exact,
    so their order does not matter; ties go to the answer seen first, at the lowest index.

    Parameters
    ----------
    answers : sequence of hashable or None, length N
        The answers; None does not vote.
    weights : sequence of numbers at least 0, length N
        The weights; by default 1 each.

    Raises
    ------
    ParameterError
        If a weight is negative or not finite, or lengths differ.
    """
    if weights is None:
        weights = [1] * len(answers)
    check_lengths(answers=answers, weights=weights)
    tally: dict[A, Fraction] = {}
    for answer, share in zip(answers, weights, strict=True):
        if answer is not None:
            tally[answer] = tally.get(answer, Fraction(0)) + weight(share)
    winner = max(tally, key=tally.__getitem__, default=None)
    return Tally(winner if winner is not None and tally[winner] > 0 else None, tally)


def check_lengths(**lists: Sequence[object]) -> None:
    """Raise ParameterError unless all sequences have the same length."""
    if len({len(values) for values in lists.values()}) > 1:
        sizes = ", ".join(f"{len(values)} {name}" for name, values in lists.items())
        raise ParameterError(f"each sample needs one of each, got {sizes}")


CUT = ("cancelled", "budget", "error")
"""Stop reasons of completions that were ended from outside, so their answers are unknown."""


def elect(problem: Problem, states: Sequence[State], weights: Sequence[Number] | None = None, **details: Any) -> Answer:
    """Elect the answer with the most weight (1 each by default); ties go to the answer seen first.

    Completions without an answer do not vote. If all completions with an answer have weight 0, each of them gets one
    vote. The chosen completion is the first with the largest weight among those that give the answer.
    """
    answers = problem.answers(states)
    if weights is not None:
        check_lengths(answers=answers, weights=weights)
        votes = [weight(w) for w, answer in zip(weights, answers, strict=True) if answer is not None]
        weights = weights if any(votes) else None
    return _answer(
        vote(answers, weights), answers, states, weights, share=counted_share(answers, states, weights), details=details
    )


def elected(
    tally: Tally[str],
    answers: Sequence[str | None],
    states: Sequence[State],
    weights: Sequence[Number] | None = None,
    **details: Any,
) -> Answer:
    """Return the `Answer` of a vote held with other weights; the given weights only select the chosen completion."""
    return _answer(tally, answers, states, weights, share=counted_share(answers, states), details=details)


def counted_share(
    answers: Sequence[str | None], states: Sequence[State], weights: Sequence[Number] | None = None
) -> Fraction:
    """Return the share of completions with an answer, by weight (1 each by default), excluding cut completions.

    A completion that reached its token limit counts; one without an answer that was ended by a budget, an error or a
    lost race does not.
    """
    voting = silent = Fraction(0)
    for i, (answer, state) in enumerate(zip(answers, states, strict=True)):
        mass = Fraction(1) if weights is None else max(rational(weights[i]), Fraction(0))
        if answer is not None:
            voting += mass
        elif state.why not in CUT:
            silent += mass
    return voting / (voting + silent) if voting + silent else Fraction(1)


def _answer(
    tally: Tally[str],
    answers: Sequence[str | None],
    states: Sequence[State],
    weights: Sequence[Number] | None,
    share: Fraction,
    details: Mapping[str, Any],
) -> Answer:
    """Return the outcome of a vote; the confidence is the winner's share times the share of completions that voted."""
    votes = {name: float(mass) for name, mass in sorted(tally.weights.items(), key=lambda item: -item[1])}
    if tally.answer is None:
        return Answer(None, votes, None, None, details=details)
    supporters = [i for i, answer in enumerate(answers) if answer == tally.answer]
    chosen = max(supporters, key=lambda i: (0 if weights is None else weights[i], -i))
    return Answer(tally.answer, votes, float(tally.share * share), states[chosen], details=details)


def take(problem: Problem, state: State, **details: Any) -> Answer:
    """Return the answer of one completion."""
    return Answer(problem.answer(state), {}, None, state, details=details)


def pick(problem: Problem, states: Sequence[State], rewards: Sequence[float], **details: Any) -> Answer:
    """Return the answer of the completion with the largest reward among those with an answer; ties go to the first."""
    answers = problem.answers(states)
    silent = all(answer is None for answer in answers)
    winner = best_of_n([r if silent or a is not None else None for r, a in zip(rewards, answers, strict=True)])
    if winner is None:
        return Answer(None)
    return Answer(answers[winner], {}, None, states[winner], details={"rewards": list(rewards), **details})
