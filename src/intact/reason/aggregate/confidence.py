"""Confidence of a completion, from the log-probabilities of its tokens and of the alternatives at each position.

Log-probabilities are rounded to 2^-24, the engine's own unit, so that sums are exact and sliding windows do not drift.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from intact._base import exact
from intact._base.errors import ParameterError
from intact.engine.sampling.spread import Spread
from intact.reason.aggregate.fixed import ONE, UNIT, Int, exp, fixed, ln

_LEAST = ONE // UNIT  # least mass that is left for tokens that are not given


class Places(NamedTuple):
    """Positions at which tokens were sampled, with sums over the known alternatives at each.

    Attributes
    ----------
    counts : int64 [places]
        Number of known alternatives.
    logarithms : int64 [places]
        Sum of their log-probabilities, in units of 2^-24.
    rest : int64 [places]
        Total probability of all other tokens, in units of 2^-31; rounding may make it negative.
    entropy : int64 [places]
        Sum of -p log p over the known alternatives, in units of 2^-31.
    """

    counts: Int
    logarithms: Int
    rest: Int
    entropy: Int


def places(rivals: Sequence[Sequence[float]]) -> Places:
    """Sum over the known log-probabilities at each position.

    Raises
    ------
    ParameterError
        If a log-probability is not finite.
    """
    counts = np.array([len(place) for place in rivals], np.int64)
    ends = np.cumsum(counts)
    values = fixed(np.fromiter(chain.from_iterable(rivals), np.float64))

    def summed(terms: Int) -> Int:  # a running sum may wrap around, but its differences are right
        sums = np.concatenate((np.zeros(1, np.int64), np.cumsum(terms)))
        return np.asarray(sums[ends] - sums[ends - counts])

    chances = exp(values)
    terms = -chances * values + (UNIT >> 1) >> 24
    return Places(counts, summed(values), ONE - summed(chances), summed(terms))


def token_confidences(rivals: Sequence[Sequence[float]]) -> list[float]:
    """Return `-(1 / k) sum_j log p_j` over the k most probable tokens at each position (DeepConf, arXiv 2508.15260).

    The value is large if the distribution is peaked, because the alternatives then have low probabilities. k may vary
    between positions.

    Raises
    ------
    ParameterError
        If a position has no log-probability.
    """
    if not all(len(place) for place in rivals):
        raise ParameterError("each position needs the log-probability of at least one token")
    known = places(rivals)
    pairs = zip(known.logarithms.tolist(), known.counts.tolist(), strict=True)
    return [-logarithm / (UNIT * count) for logarithm, count in pairs]


def group_confidences(confidences: Sequence[float], window: int) -> list[float]:
    """Return sliding-window means over `window` tokens; a shorter completion is one group, an empty one has no groups.

    Raises
    ------
    ParameterError
        If the window is below 1.
    """
    if window < 1:
        raise ParameterError(f"a window must have at least one token, got {window}")
    if not len(confidences):
        return []
    sums = np.concatenate(([0], np.cumsum(fixed(confidences))))
    size = min(window, len(confidences))
    return [int(part) / (UNIT * size) for part in sums[size:] - sums[:-size]]


def mean_confidence(confidences: Sequence[float]) -> float:
    """Return the mean over all tokens; 0 for an empty completion."""
    return next(iter(group_confidences(confidences, max(len(confidences), 1))), 0.0)


def tail_confidence(confidences: Sequence[float], tail: int = 2048) -> float:
    """Return the mean over the last `tail` tokens; 0 for an empty completion."""
    return mean_confidence(confidences[-tail:])


def bottom_confidence(confidences: Sequence[float], window: int = 2048, share: float = 0.1) -> float:
    """Return the mean over the lowest `share` of groups, at least one (DeepConf's bottom-10%); 0 without tokens.

    The number of groups is max(1, floor(groups * share)); share = 0 uses only the lowest group, as the online form
    does.
    """
    groups = sorted(group_confidences(confidences, window))
    return mean_confidence(groups[: max(1, int(len(groups) * share))])


def self_certainty(rivals: Sequence[Sequence[float]], vocabulary: int) -> float:
    """Return the mean divergence of the tokens' distributions from the uniform distribution (arXiv 2502.18581).

    The formula is `-(1 / (n V)) sum_i sum_j log(V p_ij)` over n positions and V tokens.

    Parameters
    ----------
    rivals : sequence of sequences of float, n places
        Log-probabilities of all V tokens at each position, or of the most probable ones.
    vocabulary : int
        Vocabulary size, V.

    Returns
    -------
    float
        At least 0 except for rounding; 0 for an empty completion. If only some probabilities are given, the remaining
        mass is spread evenly over the other tokens; by concavity of the logarithm, this gives the smallest
        self-certainty compatible with the known probabilities. This deviates from the paper, which uses all V, and is
        needed where only the top log-probabilities are known.

    Raises
    ------
    ParameterError
        If a position has more tokens than the vocabulary.
    """
    if not 0 < vocabulary < ONE:
        raise ParameterError(f"a vocabulary must have at least one token and fewer than 2^31, got {vocabulary}")
    if not len(rivals):
        return 0.0
    known = places(rivals)
    if known.counts.max() > vocabulary:
        raise ParameterError(
            f"a position has {known.counts.max()} log-probabilities, but the vocabulary has {vocabulary} tokens"
        )
    hidden = vocabulary - known.counts
    one = ln(np.ones(1, np.int64))  # removes the unit that `ln` assumes for a count
    each = ln(np.maximum(known.rest, _LEAST)) - (ln(np.maximum(hidden, 1)) - one)  # for each token that is not given
    total: int = sum((known.logarithms + hidden * each).tolist())
    return -total / (UNIT * vocabulary * len(rivals)) - exact.ln(vocabulary)


def entropy(rivals: Sequence[Sequence[float]]) -> float:
    """Return the mean entropy of the tokens' distributions, in nats.

    The remaining mass of a distribution is treated as one more token, so this is the smallest entropy compatible with
    the given log-probabilities; 0 for an empty completion.
    """
    if not len(rivals):
        return 0.0
    known = places(rivals)
    rest = np.maximum(known.rest, 0)
    others = (-rest * ln(np.maximum(rest, 1)) + (UNIT >> 1)) >> 24
    total: int = sum((known.entropy + others).tolist())
    return total / (ONE * len(rivals))


def mean_spread(spreads: Sequence[Spread]) -> tuple[float, float]:
    """Return the mean entropy and the self-certainty of full distributions, in nats; zeros for an empty completion.

    The sums are exact, and each mean is rounded once.
    """
    count = UNIT * max(len(spreads), 1)
    return sum([one.entropy for one in spreads]) / count, sum([one.certainty for one in spreads]) / count
