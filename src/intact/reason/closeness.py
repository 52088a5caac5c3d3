"""The closeness of a vote, derived from the recorded weight of each answer in results and receipts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

MOST_COUNTED = 10**6
"""Total weight at or above which a vote is shown as a share rather than as a number of votes."""


class Closeness(NamedTuple):
    """The elected answer's share of the vote, formatted by `str`: ``2 of 4 votes``, ``41.3% of the weight``.

    Attributes
    ----------
    weight, total : float
        The answer's weight, and the weight of all answers. Completions without an answer do not vote.
    tied : int
        The number of answers with the same weight; the vote elects the one seen first.
    is_count : bool
        If true, all weights are whole numbers, such as numbers of completions.
    """

    weight: float
    total: float
    tied: int
    is_count: bool

    @classmethod
    def of(cls, votes: Mapping[str, float], answer: str | None) -> Closeness | None:
        """Return the closeness of a vote; None if no votes were counted, for example with a single completion."""
        weights, weight = votes.values(), votes.get(answer or "", 0.0)
        total = sum(weights)
        if weight <= 0 or min(weights) < 0 or total <= 1 == len(votes):
            return None
        is_count = total < MOST_COUNTED and all(one == int(one) for one in weights)
        return cls(weight, total, sum(one == weight for one in weights), is_count)

    def __str__(self) -> str:
        share = f"{self.weight / self.total:.1%} of the weight"
        words = f"{self.weight:,.0f} of {self.total:,.0f} votes" if self.is_count else share
        return f"{words} (tie, the first of {self.tied})" if self.tied > 1 else words
