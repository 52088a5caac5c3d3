"""Predict the number of future problems that are answered correctly, exactly and for any kind of problem.

The only assumption is that future problems are exchangeable with the graded ones: drawn from the same source, in an
uninformative order. Then, if K of all n + m answers are correct, the number C of correct ones among the n graded has
the hypergeometric distribution

    P(C = c | K) = C(n, c) C(m, K - c) / C(n + m, K),

which does not depend on how hard the problems are.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from intact._base.errors import ParameterError
from intact.stats.intervals import two_sided


class PredictedCount(NamedTuple):
    """Inclusive bounds on a number of correct answers."""

    low: int
    high: int


def predict_right(right: int, graded: int, to_come: int, level: float = 0.9) -> PredictedCount:
    """Return bounds on the number of correct answers to future problems, from two hypergeometric tails.

    A number t is kept if, with K = right + t correct answers in total, the probability of at most `right` among those
    graded and the probability of at least `right` both exceed (1 - level) / 2. For every K, the bounds contain the
    truth with probability at least `level` (Thatcher 1964, Relationships between Bayesian and confidence limits for
    predictions). Sums are integers.

    Parameters
    ----------
    right : int
        Number of correct answers among the graded problems, one answer for each problem.
    graded : int
        Number of graded problems.
    to_come : int
        Number of future problems.
    level : float
        Minimum probability that the bounds hold; 0.9 is 90/100.

    Raises
    ------
    ParameterError
        If there are more correct answers than problems, no problems on one side, or the level is not in (0, 1).
    """
    if not 0 <= right <= graded or graded < 1:
        raise ParameterError(
            f"graded must be at least 1 and right must lie between 0 and graded, got {right} of {graded}"
        )
    if to_come < 1:
        raise ParameterError(f"to_come must be at least 1, got {to_come}")
    if not 0 < level < 1:
        raise ParameterError(f"the level must lie between 0 and 1, got {level}")
    tail = 1 - two_sided(level)

    def kept(t: int, most: bool) -> bool:
        """If true, t or fewer (t or more) future correct answers, of right + t, are not too improbable."""
        total = right + t
        places = range(max(0, total - graded), t + 1) if most else range(t, min(to_come, total) + 1)
        ways = sum(math.comb(to_come, s) * math.comb(graded, total - s) for s in places)
        return ways * tail.denominator > tail.numerator * math.comb(graded + to_come, total)

    # the lower tail grows with t and the upper one falls, so each bound is found by bisection
    low, above = 0, to_come
    while low < above:
        middle = (low + above) // 2
        low, above = (low, middle) if kept(middle, True) else (middle + 1, above)
    high, below = to_come, 0
    while below < high:
        middle = (below + high + 1) // 2
        below, high = (middle, high) if kept(middle, False) else (below, middle - 1)
    return PredictedCount(low, high)
