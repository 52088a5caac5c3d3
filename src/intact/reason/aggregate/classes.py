"""Which answers are the same: classes of an equivalence test."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

A = TypeVar("A", bound=Hashable)


def merge(answers: Sequence[A | None], same: Callable[[A, A], bool]) -> list[A | None]:
    """Replace each answer by the first seen of its class.

    Classes are the transitive closure of `same` (union-find): where a = b and b = c, a and c are one class even if the
    test says otherwise. It is asked once for each pair of distinct answers that are not yet known to be of one class,
    the earlier of the two first; an answer is always the same as itself, and None is never asked about.
    """
    distinct = list(dict.fromkeys(answer for answer in answers if answer is not None))
    parent = list(range(len(distinct)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    for j, later in enumerate(distinct):
        for i, earlier in enumerate(distinct[:j]):
            first, second = sorted((root(i), root(j)))
            if first != second and same(earlier, later):
                parent[second] = first
    representative = {answer: distinct[root(i)] for i, answer in enumerate(distinct)}
    return [None if answer is None else representative[answer] for answer in answers]
