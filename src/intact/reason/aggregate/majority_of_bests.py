"""Majority-of-the-bests: the answer that best-of-m would give most often on resamples of the samples."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import groupby
from math import isqrt

from intact._base.errors import ParameterError
from intact._base.exact import ranking
from intact.reason.aggregate.votes import A, Tally, check_lengths, vote


def bootstrap_weights(n: int, m: int) -> list[Fraction]:
    """Return, for each rank from best to worst, the probability of being the best of m draws with replacement from n.

    `((n - rank + 1)^m - (n - rank)^m) / n^m` for ranks 1 to n, in exact fractions that sum to 1.
    """
    if n < 1 or m < 1:
        raise ParameterError(f"n and m must be at least 1, got {n} samples and {m} draws")
    return [Fraction((n - rank + 1) ** m - (n - rank) ** m, n**m) for rank in range(1, n + 1)]


def chances_to_be_best(rewards: Sequence[float | None], m: int | None = None) -> list[Fraction]:
    """Return each sample's probability of being best in an m-out-of-n bootstrap (Rakhsha et al., arXiv 2511.18630).

    Parameters
    ----------
    m : int
        Size of a resample; by default floor(sqrt(n)), where n is the number of samples with a reward.

    Notes
    -----
    Samples with equal rewards split the probabilities of their ranks equally, so the order of samples has no effect.
    The expectation over resamples is computed exactly, whereas the paper draws resamples and adapts m to the data.
    """
    order = ranking(rewards)
    weights = [Fraction(0)] * len(rewards)
    if order:
        draws = isqrt(len(order)) if m is None else m
        chances = dict(zip(order, bootstrap_weights(len(order), draws), strict=True))
        for _, tied in groupby(order, key=rewards.__getitem__):
            group = list(tied)
            share = sum((chances[i] for i in group), Fraction(0)) / len(group)
            for i in group:
                weights[i] = share
    return weights


def majority_of_bests(answers: Sequence[A | None], rewards: Sequence[float | None], m: int | None = None) -> Tally[A]:
    """Hold a vote weighted by each sample's probability of being the best of a resample (`chances_to_be_best`).

    Ties go to the answer seen first. Samples without an answer take part in the ranking, but their weight counts for no
    answer.
    """
    check_lengths(answers=answers, rewards=rewards)
    return vote(answers, chances_to_be_best(rewards, m))
