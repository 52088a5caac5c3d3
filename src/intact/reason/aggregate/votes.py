"""Votes, and the answers that come of them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Generic, NamedTuple, TypeVar

from intact._base.errors import ParameterError
from intact._base.exact import Number, rational, weight
from intact.reason.aggregate.best import best_of_n
from intact.reason.problem import Answer, Problem, State

A = TypeVar("A", bound=Hashable)
"""The type of answers: whatever can be counted."""


class Tally(NamedTuple, Generic[A]):
    """The outcome of a vote.

    Attributes
    ----------
    answer : hashable or None
        The answer of the largest weight, of equals the one seen first; None if nobody voted or all weights are 0.
    weights : mapping
        The exact weight of each answer, in the order in which answers were seen.
    """

    answer: A | None
    weights: Mapping[A, Fraction]

    @property
    def share(self) -> Fraction:
        """The winner's share of the weight of those who voted, 0 if there is none."""
        return self.weights[self.answer] / sum(self.weights.values()) if self.answer is not None else Fraction(0)


def vote(answers: Sequence[A | None], weights: Sequence[Number] | None = None) -> Tally[A]:
    """Return the answer with the most weight, `argmax_a sum_{i: a_i = a} w_i`.

    Without weights it is the majority vote of self-consistency (Wang et al. 2022, arXiv 2203.11171). Sums are exact, so
    their order does not matter; ties go to the answer seen first, that is to the least sample.

    Parameters
    ----------
    answers : sequence of hashable or None, length N
        None does not vote.
    weights : sequence of numbers at least 0, length N
        1 each if left out.

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
    """Raise ParameterError unless all have one length."""
    if len({len(values) for values in lists.values()}) > 1:
        sizes = ", ".join(f"{len(values)} {name}" for name, values in lists.items())
        raise ParameterError(f"each sample must have one of each, got {sizes}")


CUT = ("cancelled", "budget", "error")
"""Why a text ended that somebody else has ended: what it would have answered nobody knows."""


def elect(problem: Problem, states: Sequence[State], weights: Sequence[Number] | None = None, **details: Any) -> Answer:
    """Elect the answer with the most weight (1 each by default); ties go to the answer seen first.

    Texts without an answer do not vote. Where all that have one weigh 0, the weights tell nothing, and each has one
    vote. The chosen text is the first of the largest weight that gives the answer.
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
    """Return the `Answer` of a vote with other weights; these only say which text is chosen."""
    return _answer(tally, answers, states, weights, share=counted_share(answers, states), details=details)


def counted_share(
    answers: Sequence[str | None], states: Sequence[State], weights: Sequence[Number] | None = None
) -> Fraction:
    """Return the share of texts that give an answer, by weight (1 each by default), of all but those that were cut.

    A text that has run out of tokens counts; one without an answer that a budget, an error or a lost race ended does
    not.
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
    """Return the outcome of a vote; the confidence is the winner's share times the share of texts that voted."""
    votes = {name: float(mass) for name, mass in sorted(tally.weights.items(), key=lambda item: -item[1])}
    if tally.answer is None:
        return Answer(None, votes, None, None, details=details)
    supporters = [i for i, answer in enumerate(answers) if answer == tally.answer]
    chosen = max(supporters, key=lambda i: (0 if weights is None else weights[i], -i))
    return Answer(tally.answer, votes, float(tally.share * share), states[chosen], details=details)


def take(problem: Problem, state: State, **details: Any) -> Answer:
    """Return the answer of one text."""
    return Answer(problem.answer(state), {}, None, state, details=details)


def pick(problem: Problem, states: Sequence[State], rewards: Sequence[float], **details: Any) -> Answer:
    """Return the answer of the text with the largest reward, of equals the first; texts without an answer come last."""
    answers = problem.answers(states)
    silent = all(answer is None for answer in answers)
    winner = best_of_n([r if silent or a is not None else None for r, a in zip(rewards, answers, strict=True)])
    if winner is None:
        return Answer(None)
    return Answer(answers[winner], {}, None, states[winner], details={"rewards": list(rewards), **details})
