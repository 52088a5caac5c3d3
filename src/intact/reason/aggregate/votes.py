"""Majority and weighted votes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from fractions import Fraction
from typing import Generic, NamedTuple, TypeVar

from intact.errors import ParameterError
from intact.exact import Number, weight

A = TypeVar("A", bound=Hashable)


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
    """The answer with the most weight, `argmax_a sum_{i: a_i = a} w_i`.

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
