"""Votes among the samples that finish first, where first means fewest tokens."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple, TypeVar

from intact.errors import ParameterError
from intact.reason.aggregate.votes import check_lengths, vote

A = TypeVar("A", bound=Hashable)


class Finish(NamedTuple):
    """A race by length.

    Attributes
    ----------
    members : tuple of int
        The samples that finished before it was stopped, the shortest first, equals by sample.
    total, sequential : int
        Tokens that all wrote until the last of these finished, and that one text had at most.
    """

    members: tuple[int, ...]
    total: int
    sequential: int


def race(lengths: Sequence[int], m: int) -> Finish:
    """Run all samples side by side until m have finished, and stop the rest.

    All advance one token at a time. A sample as long as the last winner has written as much, but does not count as
    finished.

    Raises
    ------
    ParameterError
        If m is below 1 or there are fewer samples.
    """
    if not 1 <= m <= len(lengths):
        raise ParameterError(f"of {len(lengths)} samples, from 1 to all may finish, got {m}")
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], i))[:m]
    end = lengths[order[-1]]
    return Finish(tuple(order), sum(min(length, end) for length in lengths), end)


def short_m_at_k(answers: Sequence[A | None], lengths: Sequence[int], m: int) -> A | None:
    """The majority among the m shortest of k samples (arXiv 2505.17813; m = 1 is first finish, arXiv 2505.18149).

    Ties go to the answer of the shortest sample, of equal lengths the first. Samples without an answer take part in the
    race and do not vote.
    """
    check_lengths(answers=answers, lengths=lengths)
    return vote([answers[i] for i in race(lengths, m).members]).answer


def last_finish(answers: Sequence[A | None], lengths: Sequence[int]) -> A | None:
    """The answer of the longest sample, of equals the first: the mirror of first finish in its paper."""
    check_lengths(answers=answers, lengths=lengths)
    return answers[max(range(len(lengths)), key=lambda i: (lengths[i], -i))] if answers else None
