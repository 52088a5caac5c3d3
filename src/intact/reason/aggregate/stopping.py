"""Stopping rules for sampling, based on the counts of answers, in exact arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import comb

from intact._base.errors import ParameterError
from intact._base.exact import Number, written
from intact.reason.aggregate.votes import A, vote


def leaders(answers: Sequence[A | None]) -> tuple[int, int]:
    """Return the counts of the most frequent answer and the second most frequent."""
    counts = sorted((int(count) for count in vote(answers).weights.values()), reverse=True)
    first, second = [*counts, 0, 0][:2]
    return first, second


def lead_probability(first: int, second: int) -> Fraction:
    """Return the probability that the first of two answers is more probable, `1 - I_(1/2)(first + 1, second + 1)`.

    The posterior of the first answer's share under a uniform prior is Beta(first + 1, second + 1). Since counts are
    integers, the incomplete beta function is a binomial sum, `sum_{j <= first} C(n, j) / 2^n` with n = first + second +
    1, and therefore exact.
    """
    n = first + second + 1
    return Fraction(sum(comb(n, j) for j in range(first + 1)), 1 << n)


def confident(answers: Sequence[A | None], threshold: Number = 0.95) -> bool:
    """Return true if the leader is ahead with at least this probability (Aggarwal et al. 2023, arXiv 2305.11860).

    Only the counts of the two most frequent answers are used; samples without an answer do not count.
    """
    return lead_probability(*leaders(answers)) >= written(threshold, "a threshold")


def survival_probability(first: int, second: int, left: int) -> Fraction:
    """Return the probability that the first answer is still strictly ahead after `left` more samples of these two.

    Each further sample goes to the first answer with a probability whose posterior is Beta(first + 1, second + 1), so
    the number of such samples is beta-binomial: `P(j) = C(first + j, j) C(second + left - j, left - j) / C(first +
    second + left + 1, left)`, computed exactly. With left = 0, the result is 1 if the first answer leads, else 0.
    """
    ways = comb(first + second + left + 1, left)
    wins = sum(
        comb(first + j, j) * comb(second + left - j, left - j) for j in range(left + 1) if first + j > second + left - j
    )
    return Fraction(wins, ways)


def decided(answers: Sequence[A | None], left: int) -> bool:
    """Return true if no answer can reach the majority's count with `left` more samples."""
    first, second = leaders(answers)
    return first - second > left


def unanimous(answers: Sequence[A | None], window: int) -> bool:
    """Return true if all answers in the last window are equal (early stopping: Li et al. 2024, arXiv 2401.10480).

    Samples are grouped into consecutive windows; a window that is not full, or that contains a sample without an
    answer, does not stop sampling.

    Raises
    ------
    ParameterError
        If the window is below 1.
    """
    if window < 1:
        raise ParameterError(f"a window must have at least one sample, got {window}")
    last = answers[len(answers) - window :] if answers and len(answers) % window == 0 else []
    return len(last) == window and last[0] is not None and len(set(last)) == 1
