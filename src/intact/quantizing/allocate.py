"""Allocation: for each matrix one of several candidates, so that all together cost least within a budget of bits.

The multiple-choice knapsack problem, solved exactly in integers by dynamic programming over the sizes that can occur
of all matrices so far. Q-Palette and HAWQ-V3 hand the same problem to a solver, whose choice among equals is its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError

Int = NDArray[np.int64]


def allocate(costs: Sequence[Sequence[int]], sizes: Sequence[Sequence[int]], budget: int) -> tuple[int, ...]:
    """Return for each matrix the candidate to take: the least sum of costs with a sum of sizes of at most `budget`.

    Of choices of equal cost, that of the least size is taken. Of those that are equal in both, the one in which the
    last matrix takes the earlier candidate, then the last but one, and so on.

    Parameters
    ----------
    costs, sizes : for each matrix, for each of its candidates, an integer from 0; their sums lie below 2^62
    budget : int
        In the unit of `sizes`.

    Raises
    ------
    ParameterError
        If the smallest candidates together exceed the budget.
    """
    least = sum(min(row) for row in sizes)
    if least > budget:
        raise ParameterError(f"a budget of {budget} bits: the smallest candidates need {least}")
    reserve = least
    total, cost = np.zeros(1, np.int64), np.zeros(1, np.int64)
    steps: list[tuple[Int, Int]] = []
    for cost_row, size_row in zip(costs, sizes, strict=True):
        reserve -= min(size_row)
        count = len(total)
        sums = np.add.outer(np.array(size_row, np.int64), total).ravel()
        worth = np.add.outer(np.array(cost_row, np.int64), cost).ravel()
        order = np.lexsort((worth, sums))  # stable: of equals the earlier candidate comes first
        order = order[sums[order] <= budget - reserve]
        found = worth[order]
        before = np.minimum.accumulate(np.concatenate([[np.iinfo(np.int64).max], found[:-1]]))
        kept = order[found < before]  # a larger sum stays only where it costs less
        steps.append((kept // count, kept % count))
        total, cost = sums[kept], worth[kept]
    state, chosen = len(total) - 1, []
    for candidate, parent in reversed(steps):
        chosen.append(int(candidate[state]))
        state = int(parent[state])
    return tuple(reversed(chosen))
