"""Choose one of several candidates for each matrix, minimising the total cost within a budget of bits.

This is the multiple-choice knapsack problem, solved exactly in integers by dynamic programming over the total sizes
that the matrices processed so far can reach. Q-Palette and HAWQ-V3 pass the same problem to a solver with its own tie
rule.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError

Int = NDArray[np.int64]


def allocate(costs: Sequence[Sequence[int]], sizes: Sequence[Sequence[int]], budget: int) -> tuple[int, ...]:
    """Choose a candidate for each matrix: the lowest total cost with a total size of at most `budget`.

    Ties in cost go to the smaller total size. Remaining ties go to the choice in which the last matrix takes the
    earlier candidate; if those are the same too, the second-to-last matrix decides, and so on.

    Parameters
    ----------
    costs, sizes : for each matrix, for each of its candidates, an integer from 0; their sums are below 2^62 budget :
    int
        In the unit of `sizes`.

    Raises
    ------
    ParameterError
        If the smallest candidates together exceed the budget.
    """
    least = sum(min(row) for row in sizes)
    if least > budget:
        raise ParameterError(f"the budget is {budget}, but the smallest candidates need {least}")
    reserve = least
    total, cost = np.zeros(1, np.int64), np.zeros(1, np.int64)
    steps: list[tuple[Int, Int]] = []
    for cost_row, size_row in zip(costs, sizes, strict=True):
        reserve -= min(size_row)
        count = len(total)
        sums = np.add.outer(np.array(size_row, np.int64), total).ravel()
        worth = np.add.outer(np.array(cost_row, np.int64), cost).ravel()
        order = np.lexsort((worth, sums))  # stable: ties keep the earlier candidate first
        order = order[sums[order] <= budget - reserve]
        found = worth[order]
        before = np.minimum.accumulate(np.concatenate([[np.iinfo(np.int64).max], found[:-1]]))
        kept = order[found < before]  # keep a larger size only if it costs less
        steps.append((kept // count, kept % count))
        total, cost = sums[kept], worth[kept]
    state, chosen = len(total) - 1, []
    for candidate, parent in reversed(steps):
        chosen.append(int(candidate[state]))
        state = int(parent[state])
    return tuple(reversed(chosen))
