"""Successive halving with two objectives, accuracy and tokens, in integer arithmetic; pure functions.

Successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943) gives all settings a few problems, the best 1 /
factor of them `factor` times as many, and so on. Deviation: with two objectives, "best" is the order of `rank`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from intact._base.errors import ParameterError


class SweepPoint(NamedTuple):
    """A setting's number of right answers and tokens, on the same problems as the other settings."""

    right: int
    tokens: int

    def dominates(self, other: SweepPoint) -> bool:
        """Return true if this point is at least as good in both objectives and better in one."""
        return self.right >= other.right and self.tokens <= other.tokens and self != other


def rung_sizes(problems: int, first: int, factor: int) -> tuple[int, ...]:
    """Return the number of problems in each rung: first, first * factor, ..., and finally all problems.

    Raises
    ------
    ParameterError
        If there is no problem, the first rung is empty, or the factor is below 2.
    """
    if problems < 1 or first < 1 or factor < 2:
        raise ParameterError(
            f"rungs need at least one problem and a factor of at least 2, got {problems}, {first}, {factor}"
        )
    sizes = [min(first, problems)]
    while sizes[-1] < problems:
        sizes.append(min(sizes[-1] * factor, problems))
    return tuple(sizes)


def front(points: Sequence[SweepPoint]) -> list[int]:
    """Return the indices of the points that no other point dominates, in the given order: the Pareto front."""
    return [i for i, one in enumerate(points) if not any(other.dominates(one) for other in points)]


def rank(points: Sequence[SweepPoint]) -> list[int]:
    """Return the indices of points from best to worst.

    The Pareto front comes first, then the front of the remaining points, and so on (non-dominated sorting, Deb et al.
    2002). Within a front, the more accurate point comes first; ties go to the cheaper, then to the earlier.
    """
    order: list[int] = []
    left = list(range(len(points)))
    while left:
        layer = [left[i] for i in front([points[i] for i in left])]
        order += sorted(layer, key=lambda i: (-points[i].right, points[i].tokens, i))
        left = [i for i in left if i not in layer]
    return order


def keep(points: Sequence[SweepPoint], factor: int) -> list[int]:
    """Return the indices of the best 1 / factor of points, rounded up, from best to worst."""
    return rank(points)[: -(-len(points) // factor)]
