"""Solve or verify: accuracy by numbers of solutions and of verdicts per solution, and the best split of a budget.

A budget of C solutions' tokens pays for S solutions with V verdicts each, `C = S (1 + ratio V)`, where a verdict takes
`ratio` times the tokens of a solution (Singhi et al. 2025, arXiv 2504.01005). The answer is the solution with the
largest mean verdict.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from intact._base.errors import ParameterError
from intact.stats.checks import Floats


class VerifiedSplit(NamedTuple):
    """The best split of a budget: the number of solutions, and of verdicts per solution."""

    budget: float
    solutions: int
    checks: int
    accuracy: float


def best_verified_at(verdicts: Sequence[Sequence[float]], right: Sequence[bool], checks: int) -> Floats:
    """For k = 1, ..., n, return the probability that the solution with the largest mean verdict among k is correct.

    It is the mean over all subsets of k of a problem's n solutions, each in the order of the solutions, and over all
    subsets of `checks` of each solution's own verdicts, hence unbiased. Ties go to the first, as in
    `generative_verifier`.

    Let a solution's score be below v in a share `a` of its subsets of verdicts, and at most v in a share `b`. Solution
    i wins with v if those before it score less than v and those after it at most v. The number of subsets of k in which
    it wins is the coefficient of z^k in `z (b_i - a_i) prod_{j < i} (1 + a_j z) prod_{j > i} (1 + b_j z)`. All terms
    are positive, so no digits are lost.

    Parameters
    ----------
    verdicts : sequence of n sequences of m numbers
        The verdicts on each solution.
    right : sequence of n bool
    checks : int
        From 1 to m.

    Returns
    -------
    array of n numbers

    Raises
    ------
    ParameterError
        If solutions have different numbers of verdicts or fewer than `checks`, or the length of `right` differs.
    """
    count, sizes = len(right), {len(own) for own in verdicts}
    if not count or len(verdicts) != count or len(sizes) != 1 or not 1 <= checks <= min(sizes):
        raise ParameterError(
            f"each of {count} solutions needs the same number of verdicts, at least {max(checks, 1)}, "
            f"got {sorted(sizes)} for {len(verdicts)}"
        )
    sums = [_sums(own, checks) for own in verdicts]
    levels = sorted({value for own in sums for value in own})
    ways = math.comb(len(verdicts[0]), checks)
    exact = np.array([[own.get(value, 0) / ways for value in levels] for own in sums])
    most = np.cumsum(exact, axis=1)
    below = most - exact
    after = np.zeros((count + 1, len(levels), count))  # solutions from i on: coefficients of z^0, z^1, ...
    after[count, :, 0] = 1
    for i in range(count - 1, 0, -1):
        after[i] = _times(after[i + 1], most[i])
    before = np.zeros((len(levels), count))
    before[:, 0] = 1
    won = np.zeros(count)
    for i in range(count):
        if right[i]:
            for level in range(len(levels)):
                product = np.convolve(before[level], after[i + 1, level])[:count]
                won += exact[i, level] * product
        before = _times(before, below[i])
    return won / np.array([math.comb(count, k) for k in range(1, count + 1)], np.float64)


def best_splits(verified: ArrayLike, ratio: float, budgets: Sequence[float]) -> list[VerifiedSplit]:
    """Return the most accurate split for each budget that suffices for one; ties go to the cheapest.

    Parameters
    ----------
    verified : array, n x m
        Accuracy of 1, ..., n solutions with 1, ..., m verdicts on each.
    ratio : float
        Tokens of a verdict relative to those of a solution.
    budgets : sequence of float
        In solutions.

    Raises
    ------
    ParameterError
        If accuracies are not a table of finite numbers, or the ratio is not above 0.
    """
    table = np.asarray(verified, np.float64)
    if table.ndim != 2 or not np.isfinite(table).all() or not 0 < ratio < math.inf:
        raise ParameterError(
            "accuracies must be a table of finite numbers, and the ratio must be positive, got shape "
            f"{table.shape} and {ratio}"
        )
    options = [
        (s * (1 + ratio * v), s, v, float(table[s - 1, v - 1]))
        for s in range(1, table.shape[0] + 1)
        for v in range(1, table.shape[1] + 1)
    ]
    found: list[VerifiedSplit] = []
    for budget in budgets:
        own = [one for one in options if one[0] <= budget + 1e-9]
        if own:
            _, solutions, checks, accuracy = max(own, key=lambda one: (one[3], -one[0]))
            found.append(VerifiedSplit(budget, solutions, checks, accuracy))
    return found


def exponents(splits: Sequence[VerifiedSplit]) -> tuple[float, float]:
    """Return the exponents a and b of `S ~ C^a`, `V ~ C^b`, by least squares on logarithms, as in the paper.

    Raises
    ------
    ParameterError
        If there are fewer than three budgets.
    """
    if len({one.budget for one in splits}) < 3:
        raise ParameterError(f"exponents need splits of at least three budgets, got {len(splits)}")
    x = np.log([one.budget for one in splits])
    x -= x.mean()
    solved, checked = (np.log([getattr(one, name) for one in splits]) for name in ("solutions", "checks"))
    return float(x @ solved / (x @ x)), float(x @ checked / (x @ x))


def _sums(verdicts: Sequence[float], checks: int) -> dict[float, int]:
    """Return the number of subsets of `checks` verdicts with each sum."""
    found: list[dict[float, int]] = [{} for _ in range(checks + 1)]
    found[0][0.0] = 1
    for value in verdicts:
        for size in range(checks, 0, -1):
            for total, ways in list(found[size - 1].items()):
                found[size][total + value] = found[size].get(total + value, 0) + ways
    return found[checks]


def _times(polynomials: Floats, factors: Floats) -> Floats:
    """Multiply polynomials, one per row, by `1 + factor z`, dropping powers beyond the table."""
    result = polynomials.copy()
    result[:, 1:] += factors[:, None] * polynomials[:, :-1]
    return result
