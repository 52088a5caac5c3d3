"""Bounds on a whole batch of future problems: Batch Predictive Inference (Lee, Tchetgen Tchetgen and Dobriban 2024).

Source: arXiv 2409.13990. The scores of n graded problems are exchangeable with those of m future ones (ties in random
order). Let R_j be 1 + the number of graded scores below the j-th future score. The sorted ranks R_(1) <= ... <= R_(m)
are uniform over all `C(n + m, m)` non-decreasing sequences in 1 ... n + 1, regardless of the scores, so

    P(R_(i) = k) = C(k + i - 2, i - 1) C(n + m - k - i + 1, m - i) / C(n + m, m),

and the sum of R_j - 1 has the Gaussian binomial coefficient [n + m choose m] as its generating function (the law of
Mann and Whitney's U). A future score is at most S_(R_j), the R_j-th smallest graded score, or is unbounded if
R_j = n + 1. Everything is computed with integers.

The authors' code draws the ranks for the mean independently of each other, which is a different distribution: for 40
graded and 10 future problems, its bound on the sum at level 0.9 is 258 instead of 263, and holds with a probability of
only 87.8%.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from intact._base.errors import ParameterError
from intact._base.exact import Number, rational, written


class PredictedMean(NamedTuple):
    """Bounds on the mean of future scores."""

    low: Fraction
    high: Fraction


def rank_law(graded: int, to_come: int, place: int) -> list[Fraction]:
    """Return the probabilities of ranks 1 to n + 1 for the `place`-th smallest future score.

    Raises
    ------
    ParameterError
        If either side has no problems, or the place is not in 1 ... m.
    """
    _check(graded, to_come)
    if not 1 <= place <= to_come:
        raise ParameterError(f"a place among {to_come} scores must lie in [1, {to_come}], got {place}")
    whole = math.comb(graded + to_come, to_come)
    return [
        Fraction(
            math.comb(k + place - 2, place - 1) * math.comb(graded + to_come - k - place + 1, to_come - place), whole
        )
        for k in range(1, graded + 2)
    ]


def rank_quantile(graded: int, to_come: int, place: int, level: float = 0.9) -> int:
    """Return the least rank that the `place`-th smallest future score stays within with probability at least `level`.

    Raises
    ------
    ParameterError
        As for `rank_law`, or if the level is not between 0 and 1.
    """
    return 1 + _first(rank_law(graded, to_come, place), _level(level))


def batch_quantile(scores: Sequence[Number], to_come: int, place: int, level: float = 0.9) -> Number:
    """Return an upper bound on the `place`-th smallest future score that holds with probability at least `level`.

    With place = ceil((1 - delta) m), at least a share of 1 - delta of the batch stays within the bound simultaneously.

    Returns
    -------
    number
        One of the scores, or `math.inf` if there are too few scores for a bound.

    Raises
    ------
    ParameterError
        If there are no scores, one is not a number, the place is not in 1 ... m, or the level is not in (0, 1).
    """
    if any(score != score for score in scores):
        raise ParameterError("a score is NaN")
    rank = rank_quantile(len(scores), to_come, place, level)
    return sorted(scores)[rank - 1] if rank <= len(scores) else math.inf


def at_most_wrong(
    confidences: Sequence[Number], right: Sequence[bool], to_come: int, wrong: int, level: float = 0.9
) -> Number:
    """Return a confidence above which at most `wrong` of the next answers are wrong, with probability at least `level`.

    Answering only above it, and abstaining otherwise, is therefore safe for the whole batch. The score of a wrong
    answer is its confidence, and the score of a correct one is the lowest of all; the bound for the place m - wrong is
    returned.

    Parameters
    ----------
    confidences : sequence of numbers, one for each graded problem
        On any scale, such as shares of votes.
    right : sequence of bool
        If true, the answer is correct.
    to_come : int
        Number of future problems, m.
    wrong : int
        Number of wrong answers that are acceptable, below m.

    Returns
    -------
    number
        A confidence; `-math.inf` if everything may be answered, `math.inf` if nothing may.

    Raises
    ------
    ParameterError
        If lengths differ, a confidence is not a number, or `wrong` is not in 0 ... m - 1.
    """
    if len(confidences) != len(right):
        raise ParameterError(
            f"confidences and verdicts must be equal in number, got {len(confidences)} and {len(right)}"
        )
    if any(confidence != confidence for confidence in confidences):
        raise ParameterError("a confidence is NaN")
    _check(len(right), to_come)
    if not 0 <= wrong < to_come:
        raise ParameterError(f"of {to_come} answers, 0 to {to_come - 1} may be wrong, got {wrong}")
    scores = [-math.inf if flag else value for value, flag in zip(confidences, right, strict=True)]
    return batch_quantile(scores, to_come, to_come - wrong, level)


def rank_sum_counts(graded: int, to_come: int) -> list[int]:
    """Return the number of rank sequences for each sum of R_j - 1 from 0 to n m: coefficients of [n + m choose m].

    The product of `(1 - x^(n + i)) / (1 - x^i)` over i = 1 ... m is expanded one factor at a time, up to the middle;
    the other half mirrors it. This takes about `n m min(n, m)` additions of long integers: 1 s for n = 164 and m = 100.

    Raises
    ------
    ParameterError
        If either side has no problems.
    """
    _check(graded, to_come)
    most, fewer = max(graded, to_come), min(graded, to_come)  # the coefficient is symmetric in both
    degrees = graded * to_come
    counts = np.zeros(degrees // 2 + 1, object)
    counts[0] = 1
    for i in range(1, fewer + 1):
        counts[most + i :] -= counts[: -most - i].copy()
        for start in range(i):
            counts[start::i] = np.add.accumulate(counts[start::i])
    half = [int(count) for count in counts]
    return half + half[: (degrees + 1) // 2][::-1]


def rank_sum_quantile(graded: int, to_come: int, level: float = 0.9) -> int:
    """Return the least number that the sum of future ranks stays within with probability at least `level`.

    Raises
    ------
    ParameterError
        If either side has no problems, or the level is not between 0 and 1.
    """
    return to_come + _first(rank_sum_counts(graded, to_come), _level(level))


def batch_mean(scores: Sequence[Number], to_come: int, level: float = 0.9, highest: Number = 1) -> Fraction:
    """Return an upper bound on the mean future score that holds with probability at least `level`.

    The bound is the largest mean of S_(r_j) over ranks whose sum is at most its quantile, found by dynamic programming
    over the m scores in about m^2 n steps for each distinct score.

    Parameters
    ----------
    scores : sequence of numbers, one for each graded problem
        Taken exactly; none above `highest`.
    to_come : int
        Number of future problems, m.
    highest : number
        The largest possible score, used as S_(n + 1).

    Raises
    ------
    ParameterError
        If there are no scores, one is not finite or above the highest, or the level is not in (0, 1).
    """
    exact, top = _bounded(scores, to_come, highest)
    return _largest_mean(exact, top, to_come, _first(rank_sum_counts(len(scores), to_come), _level(level)))


def _bounded(scores: Sequence[Number], to_come: int, highest: Number) -> tuple[list[Fraction], Fraction]:
    """Return the scores and the highest possible score as fractions."""
    _check(len(scores), to_come)
    exact, top = [rational(score, "a score") for score in scores], rational(highest, "the highest score")
    if max(exact) > top:
        raise ParameterError(f"a score of {float(max(exact)):g} is above the highest possible score, {float(top):g}")
    return exact, top


def _largest_mean(exact: Sequence[Fraction], top: Fraction, to_come: int, spare: int) -> Fraction:
    """Return the largest mean of scores at ranks whose sum is at most `spare` above its minimum."""
    least = min(exact)
    unit = math.lcm(top.denominator, *(score.denominator for score in exact))
    ranks: dict[int, int] = {}  # the cheapest rank - 1 for each gain over the least score
    for rank, score in enumerate([*sorted(exact), top]):
        ranks.setdefault(int((score - least) * unit), rank)
    small = max(ranks) * to_come < 2**62
    best = np.zeros(spare + 1, np.int64 if small else object)
    for _ in range(to_come):
        longer = best.copy()
        for gain, cost in ranks.items():
            if 0 < cost <= spare:
                np.maximum(longer[cost:], best[: best.size - cost] + gain, out=longer[cost:])
        best = longer
    return least + Fraction(int(best[spare]), unit * to_come)


def predict_mean(
    scores: Sequence[Number], to_come: int, level: float = 0.9, lowest: Number = 0, highest: Number = 1
) -> PredictedMean:
    """Return bounds on the mean future score, such as a share of correct samples: `batch_mean` from both sides.

    Each side holds with probability at least `(1 + level) / 2`. For scores of 0 or 1, `predict_right` gives tighter
    bounds.

    Raises
    ------
    ParameterError
        As for `batch_mean`, or if a score is below the lowest.
    """
    exact, top = _bounded(scores, to_come, highest)
    bottom = rational(lowest, "the lowest score")
    if min(exact) < bottom:
        raise ParameterError(f"a score of {float(min(exact)):g} is below the lowest possible score, {float(bottom):g}")
    spare = _first(rank_sum_counts(len(scores), to_come), (1 + _level(level)) / 2)
    low = -_largest_mean([-score for score in exact], -bottom, to_come, spare)
    return PredictedMean(low, _largest_mean(exact, top, to_come, spare))


def _first(masses: Sequence[int | Fraction], level: Fraction) -> int:
    """Return the first index at which the cumulative mass reaches a share `level` of the total."""
    sums = list(accumulate(masses))
    return next(place for place, held in enumerate(sums) if held >= level * sums[-1])


def _level(level: Number) -> Fraction:
    exact = written(level, "the level")
    if not 0 < exact < 1:
        raise ParameterError(f"the level must lie between 0 and 1, got {float(level):g}")
    return exact


def _check(graded: int, to_come: int) -> None:
    if graded < 1 or to_come < 1:
        raise ParameterError(f"graded and to_come must be at least 1, got {graded} and {to_come}")
