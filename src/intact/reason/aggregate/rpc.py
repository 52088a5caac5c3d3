"""RPC: prune improbable samples, then add up the probabilities of distinct texts with one answer (arXiv 2510.15444)."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from fractions import Fraction
from typing import NamedTuple

from intact.errors import ParameterError
from intact.exact import exp, weight
from intact.reason.aggregate.mixture import Mixture, fit
from intact.reason.aggregate.votes import A, Tally, check_lengths, vote


class Pruned(NamedTuple):
    """The samples that reasoning pruning kept.

    Attributes
    ----------
    kept : tuple of bool
        For each sample.
    mixture : Mixture or None
        The fit; None where there was none and samples below the mean were pruned.
    """

    kept: tuple[bool, ...]
    mixture: Mixture | None


def probabilities(log_probabilities: Sequence[float], lengths: Sequence[int] | None) -> list[float]:
    """The probability of each text by its tokens' mean, or relative to the largest.

    With lengths, `exp(log p(t | x) / length)`, the inverse perplexity: what the authors' program uses. Without,
    `p(t | x)` over the largest of them: what the paper writes, saved from underflow. The common factor changes neither
    the vote nor pruning at the mean; the mixture is that of the scaled values.

    Raises
    ------
    ParameterError
        If a log-probability is positive or not finite.
    """
    for i, value in enumerate(log_probabilities):
        if not (math.isfinite(value) and value <= 0):
            raise ParameterError(f"the log-probability of sample {i} must be finite and at most 0, got {value!r}")
    if lengths is None:
        highest = max(log_probabilities, default=0.0)
        return [exp(value - highest) for value in log_probabilities]
    check_lengths(log_probabilities=log_probabilities, lengths=lengths)
    return [exp(value / max(length, 1)) for value, length in zip(log_probabilities, lengths, strict=True)]


def prune(probabilities: Sequence[float], fitter: Callable[[Sequence[float]], Mixture | None] = fit) -> Pruned:
    """Reasoning pruning: drop sample i where the mixture prefers its low component and p_i is below the mean.

    With P1(p) = w W1(p) / (w W1(p) + (1 - w) W2(p)), the larger mean first, i is pruned iff P1(p_i) < P2(p_i) and p_i <
    mean(p). Where the fit does not converge, or a probability is 0, the second condition alone decides. The largest
    probability is never below the mean, so something is always kept.
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
    """Return the probability of each sample's text where it is drawn first; copies and pruned samples weigh nothing.

    Raises
    ------
    ParameterError
        If lengths differ, a probability is negative or not finite, or one text has two probabilities.
    """
    check_lengths(completions=completions, probabilities=probabilities, kept=completions if kept is None else kept)
    seen: dict[Hashable, float] = {}
    weights = [Fraction(0)] * len(completions)
    for i, (text, p) in enumerate(zip(completions, probabilities, strict=True)):
        if seen.setdefault(text, p) != p:
            raise ParameterError(f"sample {i} is a text seen before with probability {seen[text]!r}, got {p!r}")
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
    """The answer whose distinct texts are the most probable together: `argmax_a sum_{distinct t with answer a} p_t`.

    A text that was drawn several times counts once; pruned samples count nothing. Sums are exact; ties go to the answer
    seen first.

    Raises
    ------
    ParameterError
        As for `distinct_weights`.
    """
    check_lengths(answers=answers, completions=completions)
    return vote(answers, distinct_weights(completions, probabilities, kept))
