"""Accuracy of choosing one of k samples: by majority, or by the largest reward.

The results are means over all subsets of k of a problem's n samples, each in the order of the samples, and hence
unbiased. They are computed as exact fractions and rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from fractions import Fraction
from typing import Literal, TypeVar

import numpy as np

from intact._base.errors import ParameterError
from intact._base.exact import ranking
from intact.stats.checks import Floats

T = TypeVar("T")

Answers = Sequence[Hashable | None]


def majority_at_k(
    answers: Sequence[Answers], right: Sequence[Sequence[bool]], k: int, ties: Literal["first", "shared"] = "first"
) -> Floats:
    """Return the probability that the majority of k samples is correct (self-consistency, Wang et al. 2022).

    Source: arXiv 2203.11171. An answer wins with t votes if all others have fewer. The winning subsets are counted for
    each correct answer, each t and, if ties go to the first, each sample that may be the answer's first: the other
    answers' numbers of votes are the exponents of a product of polynomials, `prod_b sum_{j <= t} C(m_b, j) z^j`, and
    the coefficient of z^(k - t) is taken.

    Parameters
    ----------
    answers : sequence of problems, each a sequence of hashable or None
        None does not vote, but counts as one of the k samples.
    right : sequence of problems, each a sequence of bool
        If true, the sample's answer is correct.
    k : int
    ties : {"first", "shared"}
        "first": ties go to the answer seen first, as in `intact.reason.aggregate.votes.vote`. "shared": tied answers
        share the credit, which equals the mean over all orders of samples.

    Returns
    -------
    array
        One value for each problem.

    Raises
    ------
    ParameterError
        If k > n, lengths differ, or an answer of a problem is marked both right and wrong.
    """
    if ties not in ("first", "shared"):
        raise ParameterError(f"ties must be 'first' or 'shared', got {ties!r}")
    values = []
    for number, (given, verdicts) in enumerate(_problems(answers, right, k)):
        places: dict[Hashable, list[int]] = {}
        for place, answer in enumerate(given):
            if answer is not None:
                places.setdefault(answer, []).append(place)
        for answer, held in places.items():
            if len({bool(verdicts[place]) for place in held}) > 1:
                raise ParameterError(f"problem {number}: the answer {answer!r} is marked both right and wrong")
        won = _first if ties == "first" else _shared
        ways = sum(won(answer, places, len(given), k) for answer in places if verdicts[places[answer][0]])
        values.append(float(Fraction(ways) / math.comb(len(given), k)))
    return np.array(values)


def best_at_k(rewards: Sequence[Sequence[float | None]], right: Sequence[Sequence[bool]], k: int) -> Floats:
    """Return the probability that the sample with the largest reward among k is correct; ties go to the first.

    The sample of rank r among n is the best in `C(n - r, k - 1)` subsets. Missing rewards rank last; if all rewards of
    a subset are missing, nothing is chosen, which counts as wrong.

    Raises
    ------
    ParameterError
        If k > n, lengths differ, or a reward is not a number.
    """
    values = []
    for values_of, verdicts in _problems(rewards, right, k):
        n = len(values_of)
        ways = sum(math.comb(n - rank, k - 1) for rank, place in enumerate(ranking(values_of), 1) if verdicts[place])
        values.append(float(Fraction(ways, math.comb(n, k))))
    return np.array(values)


def _problems(
    samples: Sequence[Sequence[T]], right: Sequence[Sequence[bool]], k: int
) -> list[tuple[Sequence[T], Sequence[bool]]]:
    if len(samples) != len(right) or not len(samples):
        raise ParameterError(
            f"samples and verdicts must have the same number of problems, at least one, got {len(samples)} and "
            f"{len(right)}"
        )
    for number, (given, verdicts) in enumerate(zip(samples, right, strict=True)):
        if len(given) != len(verdicts):
            raise ParameterError(f"problem {number}: {len(given)} samples have {len(verdicts)} verdicts")
        if not 1 <= k <= len(given):
            raise ParameterError(f"k = {k} samples cannot be drawn from n = {len(given)} for problem {number}")
    return list(zip(samples, right, strict=True))


def _first(answer: Hashable, places: dict[Hashable, list[int]], n: int, k: int) -> int:
    """Count the subsets in which an answer wins, if ties go to the answer seen first."""
    own = places[answer]
    others = [held for name, held in places.items() if name != answer]
    silent = n - sum(map(len, places.values()))
    most = min(len(own), k)
    choices = [[math.comb(len(held), j) for j in range(most)] for held in others]
    silence = [math.comb(silent, j) for j in range(silent + 1)]
    ways = 0
    for rank, first in enumerate(own):
        later = [sum(place > first for place in held) for held in others]
        for votes in range(1, min(len(own) - rank, k) + 1):
            numbers = [[*row[:votes], math.comb(after, votes)] for row, after in zip(choices, later, strict=True)]
            numbers.append(silence)
            ways += math.comb(len(own) - rank - 1, votes - 1) * _coefficient(numbers, k - votes, n)
    return ways


def _shared(answer: Hashable, places: dict[Hashable, list[int]], n: int, k: int) -> Fraction:
    """Sum over the subsets in which an answer has the most votes, each divided by the number of answers that tie."""
    own = len(places[answer])
    sizes = [len(held) for name, held in places.items() if name != answer]
    silent = n - own - sum(sizes)
    ways = Fraction(0)
    for votes in range(1, min(own, k) + 1):
        # a second variable counts tied rivals: y = z^(n + 1) keeps its powers separate
        numbers = [
            [math.comb(size, j) for j in range(votes)] + [0] * (n + 1) + [math.comb(size, votes)] for size in sizes
        ]
        numbers.append([math.comb(silent, j) for j in range(silent + 1)])
        rivals = range((k - votes) // votes + 1)
        found = _coefficients(numbers, [(k - votes) + (n + 1) * equal for equal in rivals], n)
        ways += math.comb(own, votes) * sum(Fraction(found[equal], equal + 1) for equal in rivals)
    return ways


def _coefficient(polynomials: list[list[int]], power: int, n: int) -> int:
    return _coefficients(polynomials, [power], n)[0]


def _coefficients(polynomials: list[list[int]], powers: list[int], n: int) -> list[int]:
    """Return the coefficients of a product of polynomials that count subsets of n, by Kronecker's substitution.

    Each polynomial is evaluated at 2^(n + 1), which exceeds every sum of coefficients, so the base-2^(n + 1) digits of
    the product are its coefficients.
    """
    product = 1
    for numbers in polynomials:
        product *= sum(number << (n + 1) * j for j, number in enumerate(numbers) if number)
    digit = (1 << n + 1) - 1
    return [product >> (n + 1) * power & digit for power in powers]
