"""RPC: prune improbable samples, then sum the probabilities of distinct completions per answer (arXiv 2510.15444)."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from fractions import Fraction
from itertools import permutations
from typing import Final, NamedTuple

from intact._base.errors import ParameterError
from intact._base.exact import Number, exp, rational, weight
from intact.reason.aggregate.mixture import Mixture, fit
from intact.reason.aggregate.votes import A, Tally, check_lengths, vote

NEGLIGIBLE: Final = Fraction(1, 1 << 60)
"""Expected number of draws of a completion below which a second draw is neglected."""


class Pruned(NamedTuple):
    """The samples kept by reasoning pruning.

    Attributes
    ----------
    kept : tuple of bool
        One flag per sample.
    mixture : Mixture or None
        The fitted mixture; None if no fit was found and samples below the mean were pruned instead.
    """

    kept: tuple[bool, ...]
    mixture: Mixture | None


def probabilities(log_probabilities: Sequence[float], lengths: Sequence[int] | None) -> list[float]:
    """Return the probability of each completion: a per-token mean, or a value relative to the largest.

    With lengths, `exp(log p(t | x) / length)`, the inverse perplexity, as in the authors' code. Without lengths, `p(t |
    x)` divided by the largest of them, as in the paper but safe from underflow. The common factor changes neither the
    vote nor pruning at the mean; the mixture is fitted to the scaled values.

    Raises
    ------
    ParameterError
        If a log-probability is positive or not finite.
    """
    _check_log_probabilities(log_probabilities)
    if lengths is None:
        highest = max(log_probabilities, default=0.0)
        return [exp(value - highest) for value in log_probabilities]
    check_lengths(log_probabilities=log_probabilities, lengths=lengths)
    return [exp(value / max(length, 1)) for value, length in zip(log_probabilities, lengths, strict=True)]


def _check_log_probabilities(log_probabilities: Sequence[float]) -> None:
    for i, value in enumerate(log_probabilities):
        if not (math.isfinite(value) and value <= 0):
            raise ParameterError(f"the log-probability of sample {i} must be finite and at most 0, got {value!r}")


def prune(probabilities: Sequence[float], fitter: Callable[[Sequence[float]], Mixture | None] = fit) -> Pruned:
    """Apply reasoning pruning: drop sample i if the mixture prefers its low component and p_i is below the mean.

    With P1(p) = w W1(p) / (w W1(p) + (1 - w) W2(p)), where W1 is the component with the larger mean, i is pruned iff
    P1(p_i) < P2(p_i) and p_i < mean(p). If the fit does not converge, or a probability is 0, only the second condition
    counts. The largest probability is never below the mean, so at least one sample is kept.
    """
    exact = [weight(p, "a probability") for p in probabilities]
    if not exact:
        return Pruned((), None)
    mean = sum(exact) / len(exact)
    mixture = fitter(probabilities) if all(exact) else None
    kept = tuple(
        p >= mean or (mixture is not None and not mixture.prefers_low(value))
        for p, value in zip(exact, probabilities, strict=True)
    )
    return Pruned(kept, mixture)


def distinct_weights(
    completions: Sequence[Hashable], probabilities: Sequence[float], kept: Sequence[bool] | None = None
) -> list[Fraction]:
    """Return the probability of each completion at its first kept sample; duplicates and pruned samples get weight 0.

    Raises
    ------
    ParameterError
        If lengths differ, a probability is negative or not finite, or one completion has two probabilities.
    """
    check_lengths(completions=completions, probabilities=probabilities, kept=completions if kept is None else kept)
    seen: dict[Hashable, float] = {}
    weights = [Fraction(0)] * len(completions)
    for i, (text, p) in enumerate(zip(completions, probabilities, strict=True)):
        if seen.setdefault(text, p) != p:
            raise ParameterError(f"sample {i} repeats a text with probability {seen[text]!r}, got {p!r}")
        if kept is None or kept[i]:
            weights[i] = weight(p, "a probability")
    first: dict[Hashable, int] = {}
    for i, text in enumerate(completions):
        if weights[i] and first.setdefault(text, i) != i:
            weights[i] = Fraction(0)
    return weights


def perplexity_consistency(
    answers: Sequence[A | None],
    completions: Sequence[Hashable],
    probabilities: Sequence[float],
    kept: Sequence[bool] | None = None,
) -> Tally[A]:
    """Return the answer with the most probable distinct completions: `argmax_a sum_{distinct t with answer a} p_t`.

    A completion drawn several times counts once; pruned samples do not count. Sums are exact; ties go to the answer
    seen first.

    Raises
    ------
    ParameterError
        As for `distinct_weights`.
    """
    check_lengths(answers=answers, completions=completions)
    return vote(answers, distinct_weights(completions, probabilities, kept))


def inclusion_weights(completions: Sequence[Hashable], log_probabilities: Sequence[float]) -> list[Fraction]:
    """Return the Horvitz-Thompson weight of each completion at its first sample, and 0 for duplicates.

    A completion of probability p is among n samples with probability `1 - (1 - p)^n`; if it is, its weight is p divided
    by that. In expectation, the weights of the completions with one answer thus sum to the answer's probability for any
    n, whereas the weights of perplexity consistency fall short of it. A completion of tiny probability gets weight 1 /
    n, as in the majority vote.

    Parameters
    ----------
    completions : sequence of hashable, length N
        All n samples, drawn independently from the model itself.
    log_probabilities : sequence of float, length N
        The natural logarithm of each full completion's probability.

    Raises
    ------
    ParameterError
        If a log-probability is positive or not finite, or lengths differ.
    """
    check_lengths(completions=completions, log_probabilities=log_probabilities)
    _check_log_probabilities(log_probabilities)
    seen: set[Hashable] = set()
    weights = []
    for text, value in zip(completions, log_probabilities, strict=True):
        weights.append(Fraction(0) if text in seen else inclusion_weight(Fraction(exp(value)), len(completions)))
        seen.add(text)
    return weights


def inclusion_weight(p: Fraction, n: int) -> Fraction:
    """Return `p / (1 - (1 - p)^n)`, exactly; 1 / n, its limit, if n p is negligible."""
    return Fraction(1, n) if n * p < NEGLIGIBLE else p / (1 - (1 - p) ** n)


class Errors(NamedTuple):
    """Expected squared errors of estimates of the right answer's probability, taking the true value to be 1.

    Attributes
    ----------
    model : Fraction
        `(P - 1)^2`: the error of the model's own probability P, which more samples cannot reduce.
    vote, consistency, inclusion : Fraction
        Errors of the share of votes, of perplexity consistency, and of its Horvitz-Thompson form, each including the
        model's error.
    """

    model: Fraction
    vote: Fraction
    consistency: Fraction
    inclusion: Fraction


def expected_errors(right: Sequence[Number], n: int) -> Errors:
    """Return the exact expected errors with n samples, given the probabilities of the distinct right completions.

    Both completions of a pair are among the samples with probability `1 - (1 - p)^n - (1 - q)^n + (1 - p - q)^n`.

    Raises
    ------
    ParameterError
        If a probability is outside (0, 1], the probabilities sum to more than 1, or n is below 1.
    """
    chances = [rational(p, "a probability") for p in right]
    mass = sum(chances, Fraction(0))
    if n < 1 or mass > 1 or not all(0 < p <= 1 for p in chances):
        raise ParameterError(
            f"n must be at least 1, and probabilities must lie in (0, 1] and sum to at most 1, got {n} and {right!r}"
        )
    seen = [1 - (1 - p) ** n for p in chances]

    def error(weights: Sequence[Fraction]) -> Fraction:
        mean = sum((w * s for w, s in zip(weights, seen, strict=True)), Fraction(0))
        square = sum((w * w * s for w, s in zip(weights, seen, strict=True)), Fraction(0))
        for i, j in permutations(range(len(chances)), 2):
            both = seen[i] + seen[j] - 1 + (1 - chances[i] - chances[j]) ** n
            square += weights[i] * weights[j] * both
        return square - 2 * mean + 1

    model = (mass - 1) ** 2
    vote_error = model + mass * (1 - mass) / n
    return Errors(model, vote_error, error(chances), error([inclusion_weight(p, n) for p in chances]))


def seen_errors(completions: Sequence[Hashable], log_probabilities: Sequence[float], right: Sequence[bool]) -> Errors:
    """Return the errors of one set of n samples: unbiased estimates of `expected_errors`, with 1 as the true value.

    The errors of the three estimates are their squared distances from 1. The model's error `(P - 1)^2` is estimated by
    `(c / n - 1)^2 - c (n - c) / (n^2 (n - 1))` from c right samples out of n; this estimate may be negative.

    Parameters
    ----------
    completions : sequence of hashable, length n
        All samples, drawn independently from the model itself.
    log_probabilities : sequence of float
        The natural logarithm of each full completion's probability.
    right : sequence of bool
        If true, the sample's answer is right.

    Raises
    ------
    ParameterError
        If there are fewer than two samples; also as for `inclusion_weights` and `distinct_weights`.
    """
    check_lengths(completions=completions, log_probabilities=log_probabilities, right=right)
    n, c = len(completions), sum(map(bool, right))
    if n < 2:
        raise ParameterError(f"estimating the model's error needs at least two samples, got {n}")
    _check_log_probabilities(log_probabilities)
    own = distinct_weights(completions, [exp(value) for value in log_probabilities], right)
    included = inclusion_weights(completions, log_probabilities)
    vote_error = (Fraction(c, n) - 1) ** 2
    return Errors(
        vote_error - Fraction(c * (n - c), n * n * (n - 1)),
        vote_error,
        (sum(own, Fraction(0)) - 1) ** 2,
        (sum((w for w, good in zip(included, right, strict=True) if good), Fraction(0)) - 1) ** 2,
    )
