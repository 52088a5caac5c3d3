"""DeepConf: keep confident samples and weight their votes; stop the others early (arXiv 2508.15260)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from intact._base.errors import ParameterError
from intact._base.exact import Number, rational, written
from intact.reason.aggregate.confidence import group_confidences
from intact.reason.aggregate.votes import A, Tally, check_lengths, vote


def percentile(values: Sequence[float], percent: Number) -> Fraction:
    """Return a percentile with linear interpolation between neighbours, as NumPy does by default, in exact fractions.

    Raises
    ------
    ParameterError
        If there are no values, a value is not finite, or percent is outside [0, 100].
    """
    share = written(percent, "a percentile") / 100
    if not values or not 0 <= share <= 1:
        raise ParameterError(
            f"a percentile must lie in [0, 100] and needs at least one value, got {percent} of {len(values)}"
        )
    ordered = sorted(rational(value, "a confidence") for value in values)
    place = share * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def confident_vote(answers: Sequence[A | None], confidences: Sequence[float], keep: Number = 10) -> Tally[A]:
    """Hold a vote among the most confident `keep` per cent, weighted by confidence (the offline form).

    Samples without an answer are dropped first. Samples at or above the (100 - keep)th percentile are kept, so ties are
    kept or dropped together; the paper uses keep = 10 and 90; with 100, all samples vote. Ties go to the answer seen
    first.

    Raises
    ------
    ParameterError
        If a confidence is negative or not finite, keep is outside [0, 100], or lengths differ.
    """
    check_lengths(answers=answers, confidences=confidences)
    known = [value for answer, value in zip(answers, confidences, strict=True) if answer is not None]
    if not known:
        return vote(answers)
    least = percentile(known, 100 - written(keep, "keep"))
    return vote(answers, [value if value >= least else 0 for value in confidences])


def bar(lowest: Sequence[float], keep: Number = 10) -> float:
    """Return the threshold of the online form: the (100 - keep)th percentile of the warm-up samples' lowest groups.

    The authors use 16 warm-up samples and keep = 10 (DeepConf-low) or 90 (DeepConf-high).
    """
    return float(percentile(lowest, 100 - written(keep, "keep")))


def stopping_place(confidences: Sequence[float], window: int, least: float) -> int | None:
    """Return the number of tokens at which the mean of the last `window` first falls below the threshold, or None.

    A sample is not judged until it has a full window of tokens.
    """
    if len(confidences) < window:
        return None
    groups = group_confidences(confidences, window)
    return next((i + window for i, group in enumerate(groups) if group < least), None)


def agreed(tally: Tally[A], consensus: Number = 0.95) -> bool:
    """Return true if the winner's share of the weight has reached the consensus, which ends the online form."""
    if tally.answer is None:
        return False
    return tally.weights[tally.answer] >= written(consensus, "a consensus") * sum(tally.weights.values())
