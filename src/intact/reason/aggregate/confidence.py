"""Confidence of a text by the log-probabilities of its tokens and of their rivals.

Log-probabilities are rounded to 2^-24, the engine's own unit, so that sums are exact and sliding windows do not drift.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intact.errors import ParameterError
from intact.reason.exact import exp, ln

UNIT = 1 << 24


def fixed(log_probabilities: ArrayLike) -> NDArray[np.int64]:
    """Log-probabilities in units of 2^-24.

    Raises
    ------
    ParameterError
        If one is not finite, or beyond 2^30 nats.
    """
    values = np.asarray(log_probabilities, np.float64)
    if not np.all(np.abs(values) < 1 << 30):
        raise ParameterError("log-probabilities must be finite")
    return np.rint(values * UNIT).astype(np.int64)


def token_confidences(rivals: Sequence[Sequence[float]]) -> list[float]:
    """Each token's `-(1 / k) sum_j log p_j` over the k most probable tokens at its place (DeepConf, arXiv 2508.15260).

    Large where the distribution is peaked, for then the rivals are improbable. k may differ from place to place.

    Raises
    ------
    ParameterError
        If a place has no log-probability.
    """
    if not all(len(place) for place in rivals):
        raise ParameterError("each place needs the log-probability of at least one token")
    return [int(-fixed(place).sum()) / (UNIT * len(place)) for place in rivals]


def group_confidences(confidences: Sequence[float], window: int) -> list[float]:
    """Means of each `window` neighbouring tokens; a text that is shorter is one group, an empty one has none.

    Raises
    ------
    ParameterError
        If the window is below 1.
    """
    if window < 1:
        raise ParameterError(f"a window has at least one token, got {window}")
    if not len(confidences):
        return []
    sums = np.concatenate(([0], np.cumsum(fixed(confidences))))
    size = min(window, len(confidences))
    return [int(part) / (UNIT * size) for part in sums[size:] - sums[:-size]]


def mean_confidence(confidences: Sequence[float]) -> float:
    """The mean over all tokens; 0 for an empty text."""
    return next(iter(group_confidences(confidences, max(len(confidences), 1))), 0.0)


def tail_confidence(confidences: Sequence[float], tail: int = 2048) -> float:
    """The mean over the last `tail` tokens; 0 for an empty text."""
    return mean_confidence(confidences[-tail:])


def bottom_confidence(confidences: Sequence[float], window: int = 2048, share: float = 0.1) -> float:
    """The mean over the lowest `share` of groups, at least one (DeepConf's bottom-10%); 0 for an empty text.

    The number of groups is max(1, floor(groups * share)); share = 0 is the lowest group alone, which the online form
    watches.
    """
    groups = sorted(group_confidences(confidences, window))
    return mean_confidence(groups[: max(1, int(len(groups) * share))])


def self_certainty(rivals: Sequence[Sequence[float]], vocabulary: int) -> float:
    """The mean divergence of tokens' distributions from the uniform one (arXiv 2502.18581).

    `-(1 / (n V)) sum_i sum_j log(V p_ij)` over n places and V tokens.

    Parameters
    ----------
    rivals : sequence of sequences of float, n places
        Log-probabilities of all V tokens at each place, or of the most probable ones.
    vocabulary : int
        V.

    Returns
    -------
    float
        At least 0 but for rounding; 0 for an empty text. Where only some tokens' probabilities are given, the rest of
        the mass is spread evenly over the others: by concavity of the logarithm, that is the least self-certainty that
        the given ones allow. The deviation from the paper, which reads all V, is needed wherever only top
        log-probabilities are known.

    Raises
    ------
    ParameterError
        If a place has more tokens than the vocabulary.
    """
    places = []
    for place in rivals:
        hidden = vocabulary - len(place)
        if hidden < 0:
            raise ParameterError(f"a place has {len(place)} log-probabilities, the vocabulary {vocabulary} tokens")
        known = int(fixed(place).sum())
        if hidden:
            rest = max(1.0 - sum(exp(value) for value in place), 1 / UNIT)
            known += round((ln(rest) - ln(hidden)) * UNIT) * hidden
        places.append(-known / (UNIT * vocabulary) - ln(vocabulary))
    return sum(places) / len(places) if places else 0.0
