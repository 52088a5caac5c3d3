"""Prediction of how many of the next problems are answered rightly: exact, and for any kind of problems.

The only assumption is that the problems to come are exchangeable with those graded: drawn from the same source, in an
order that says nothing. Then, if K of all n + m answers are right, the number C of right ones among the n graded has
the hypergeometric law

    P(C = c | K) = C(n, c) C(m, K - c) / C(n + m, K),

which knows nothing of how hard the problems are.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from intact._base.errors import ParameterError
from intact.stats.intervals import two_sided


class PredictedCount(NamedTuple):
    """The bounds of a number of right answers, both included."""

    low: int
    high: int


def predict_right(right: int, graded: int, to_come: int, level: float = 0.9) -> PredictedCount:
    """Return bounds of the number of right answers among the next problems, by two hypergeometric tails.

    A number t is kept if, of K = right + t right ones in all, neither as few as `right` nor as many are among those
    graded with a chance of (1 - level) / 2 or less. Whatever K is, the bounds hold the truth with a chance of `level`
    or more (Thatcher 1964, Relationships between Bayesian and confidence limits for predictions). Sums are integers.

    Parameters
    ----------
    right : int
        Right answers among the graded problems, one answer for each problem.
    graded : int
        Problems that were graded.
    to_come : int
        Problems that were not.
    level : float
        The chance that the bounds hold, at least; 0.9 is 90/100.

    Raises
    ------
    ParameterError
        If there are more right answers than problems, no problem on one side, or the level does not lie in (0, 1).
    """
    if not 0 <= right <= graded or graded < 1:
        raise ParameterError(f"of one graded problem or more 0 to all are right, got {right} of {graded}")
    if to_come < 1:
        raise ParameterError(f"there must be a problem to come, got {to_come}")
    if not 0 < level < 1:
        raise ParameterError(f"the level must lie between 0 and 1, got {level}")
    tail = 1 - two_sided(level)

    def kept(t: int, most: bool) -> bool:
        """If true, t or fewer (t or more) right ones to come, of right + t, are not too improbable."""
        total = right + t
        places = range(max(0, total - graded), t + 1) if most else range(t, min(to_come, total) + 1)
        ways = sum(math.comb(to_come, s) * math.comb(graded, total - s) for s in places)
        return ways * tail.denominator > tail.numerator * math.comb(graded + to_come, total)

    # the lower tail grows with t and the upper one falls: each bound is found by bisection
    low, above = 0, to_come
    while low < above:
        middle = (low + above) // 2
        low, above = (low, middle) if kept(middle, True) else (middle + 1, above)
    high, below = to_come, 0
    while below < high:
        middle = (below + high + 1) // 2
        below, high = (middle, high) if kept(middle, False) else (below, middle - 1)
    return PredictedCount(low, high)
