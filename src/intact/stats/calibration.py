"""Calibration: tests whether higher scores are more often right, and confidences of 0.8 right in 80 of 100 cases.

All functions take scores, or confidences in [0, 1], and for each completion a flag that is true if it is correct.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import groupby
from typing import NamedTuple

from intact._base.errors import ParameterError
from intact._base.exact import ln, mean, total, written


class Bin(NamedTuple):
    """Completions with similar confidence.

    Attributes
    ----------
    low, high
        Bounds of their confidence.
    texts
        Number of completions.
    confidence
        Mean confidence.
    right
        Share of correct completions.
    """

    low: float
    high: float
    texts: int
    confidence: float
    right: float


def auroc(scores: Sequence[float], right: Sequence[bool]) -> float | None:
    """Return the probability that a correct completion scores above a wrong one, counting ties as half.

    This is the area under the receiver operating characteristic; random scores have 0.5. The result is None if all
    completions are correct or all are wrong.
    """
    _check(scores, right)
    good = sum(right)
    bad = len(right) - good
    if not good or not bad:
        return None
    won, below = Fraction(0), 0
    for flags in _by_score(scores, right):
        wrong = len(flags) - sum(flags)
        won += sum(flags) * (below + Fraction(wrong, 2))
        below += wrong
    return float(won / (good * bad))


def brier(confidences: Sequence[float], right: Sequence[bool]) -> float:
    """Return the mean squared difference between confidence and correctness; constant confidences of 0.5 give 0.25."""
    _check(confidences, right, bounded=True)
    return mean(_square(confidence - flag) for confidence, flag in zip(confidences, right, strict=True))


def log_loss(confidences: Sequence[float], right: Sequence[bool], least: float = 1e-6) -> float:
    """Return the mean negative log-likelihood, in nats, with confidences clipped to [`least`, 1 - `least`]."""
    _check(confidences, right, bounded=True)
    kept = [min(max(confidence, least), 1 - least) for confidence in confidences]
    return -mean(ln(chance if flag else 1 - chance) for chance, flag in zip(kept, right, strict=True))


def reliability(
    confidences: Sequence[float], right: Sequence[bool], bins: int = 10, adaptive: bool = False
) -> list[Bin]:
    """Group completions by confidence into bins of equal width, omitting empty ones; 1 belongs to the last bin.

    Adaptive bins contain numbers of completions as equal as possible without separating equal confidences; their bounds
    are the smallest and largest confidence that they contain.
    """
    _check(confidences, right, bounded=True)
    if bins < 1:
        raise ParameterError(f"bins must be at least 1, got {bins}")
    sorted_in: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    ordered = sorted(zip(confidences, right, strict=True), key=lambda pair: pair[0])
    for confidence, ties in groupby(enumerate(ordered), key=lambda numbered: numbered[1][0]):
        place, _ = first = next(ties)
        number = place * bins // len(ordered) if adaptive else min(int(confidence * bins), bins - 1)
        sorted_in[number] += [pair for _, pair in (first, *ties)]
    return [
        Bin(
            held[0][0] if adaptive else i / bins,
            held[-1][0] if adaptive else (i + 1) / bins,
            len(held),
            mean(pair[0] for pair in held),
            right=sum(pair[1] for pair in held) / len(held),
        )
        for i, held in enumerate(sorted_in)
        if held
    ]


def bins_from_the_top(confidences: Sequence[float], right: Sequence[bool], least: int = 25) -> list[Bin]:
    """Group completions into bins of at least `least`, from the highest confidence down.

    Equal confidences stay together. A smaller remainder joins the last bin; fewer than `least` completions form a
    single bin. A new completion belongs to the first bin whose `low` its confidence reaches, or else to the last bin.
    Because bounds depend only on confidences, not on verdicts, new completions in a bin are correct as often as those
    already in it (Gupta and Ramdas 2021, arXiv 2105.04656). An interval of that share, such as Wilson's, is therefore
    an interval of their probability of being correct.

    Raises
    ------
    ParameterError
        If lengths differ, there are no completions, a confidence is not in [0, 1], or `least` is below 1.
    """
    _check(confidences, right, bounded=True)
    if least < 1:
        raise ParameterError(f"the minimum number of texts in a bin must be at least 1, got {least}")
    ordered = sorted(zip(confidences, right, strict=True), key=lambda pair: -pair[0])
    bins: list[list[tuple[float, bool]]] = [[]]
    for _, ties in groupby(ordered, key=lambda pair: pair[0]):
        if len(bins[-1]) >= least:
            bins.append([])
        bins[-1] += ties
    if len(bins) > 1 and len(bins[-1]) < least:
        rest = bins.pop()
        bins[-1] += rest
    return [
        Bin(
            held[-1][0],
            held[0][0],
            len(held),
            mean(confidence for confidence, _ in held),
            right=sum(flag for _, flag in held) / len(held),
        )
        for held in bins
    ]


def calibration_error(
    confidences: Sequence[float], right: Sequence[bool], bins: int = 10, adaptive: bool = False
) -> float:
    """Return the mean distance between confidence and share correct over bins, weighted by bin count.

    With bins of equal width it is ECE (Naeini et al. 2015), with adaptive bins a relative of ACE (Nixon et al. 2019,
    arXiv 1904.01685). It is never negative and hence biased upwards if there are few completions, even for calibrated
    confidences.
    """
    found = reliability(confidences, right, bins, adaptive)
    return total(held.texts * abs(held.confidence - held.right) for held in found) / len(right)


class Murphy(NamedTuple):
    """The parts of a Brier score, `reliability - resolution + uncertainty + within`.

    Attributes
    ----------
    reliability
        Mean squared distance between a bin's confidence and its share correct: 0 is best.
    resolution
        Mean squared distance of the bins' shares from the overall share: higher is better.
    uncertainty
        `s (1 - s)` with s the overall share correct: the score of a constant confidence s.
    within
        Remainder due to confidences that differ within a bin.
    """

    reliability: float
    resolution: float
    uncertainty: float
    within: float


def murphy(confidences: Sequence[float], right: Sequence[bool], bins: int = 10, adaptive: bool = False) -> Murphy:
    """Return the parts of the Brier score (Murphy 1973; Stephenson et al. 2008 for the within-bin part)."""
    found = reliability(confidences, right, bins, adaptive)
    share = sum(right) / len(right)
    apart = total(held.texts * _square(held.confidence - held.right) for held in found) / len(right)
    resolved = total(held.texts * _square(held.right - share) for held in found) / len(right)
    uncertainty = share * (1 - share)
    return Murphy(apart, resolved, uncertainty, brier(confidences, right) - apart + resolved - uncertainty)


class SelectionShares(NamedTuple):
    """The accuracy of choosing one of several completions by score.

    Attributes
    ----------
    chosen
        Share of problems whose completion with the highest score is correct; ties count as the share correct among the
        tied.
    anyone
        Mean share of correct completions: the accuracy of a random choice.
    best
        Share of problems with any correct completion: the accuracy of a perfect score.
    """

    chosen: float
    anyone: float
    best: float


def choice(scores: Sequence[Sequence[float]], right: Sequence[Sequence[bool]]) -> SelectionShares:
    """Return the accuracy of choosing by score, over problems with several completions each."""
    if not scores:
        raise ParameterError("at least one problem is needed")
    chosen, anyone, best = [], [], []
    for values, flags in zip(scores, right, strict=True):
        _check(values, flags)
        top = [flag for value, flag in zip(values, flags, strict=True) if value == max(values)]
        chosen.append(sum(top) / len(top))
        anyone.append(sum(flags) / len(flags))
        best.append(float(any(flags)))
    return SelectionShares(mean(chosen), mean(anyone), mean(best))


class Selective(NamedTuple):
    """The risk of answering only when confidence is high.

    Attributes
    ----------
    coverage
        Share of completions answered, from the highest confidence down, with one point per completion.
    risk
        Share of wrong completions among those answered.
    aurc
        Mean risk, the area under the curve: 0 is best.
    excess
        Difference from the AURC of the same completions in the best order.
    """

    coverage: list[float]
    risk: list[float]
    aurc: float
    excess: float


def selective(scores: Sequence[float], right: Sequence[bool]) -> Selective:
    """Return the risk-coverage curve (Geifman and El-Yaniv 2017, arXiv 1705.08500; for the excess 2019, 1805.08206).

    Completions with equal scores are not ordered: each counts as their mean.
    """
    _check(scores, right)
    texts = len(right)
    wrong, risk = Fraction(0), list[Fraction]()
    for flags in reversed(_by_score(scores, right)):
        for _ in flags:
            wrong += Fraction(len(flags) - sum(flags), len(flags))
            risk.append(wrong / (len(risk) + 1))
    good = sum(right)
    area = sum(risk) / texts
    least = sum((Fraction(i - good, i) for i in range(good + 1, texts + 1)), Fraction(0)) / texts
    shares = [i / texts for i in range(1, texts + 1)]
    return Selective(shares, list(map(float, risk)), float(area), float(area - least))


def selective_accuracy(scores: Sequence[float], right: Sequence[bool], coverage: float) -> float:
    """Return the share correct among a given share of completions, rounded up, with the highest scores."""
    if not 0 < coverage <= 1:
        raise ParameterError(f"the coverage must lie in (0, 1], got {coverage}")
    return 1 - selective(scores, right).risk[math.ceil(written(coverage, "coverage") * len(right)) - 1]


def _by_score(scores: Sequence[float], right: Sequence[bool]) -> list[list[bool]]:
    """Return the flags of completions grouped by equal score, from the lowest score to the highest."""
    ordered = sorted(zip(scores, right, strict=True), key=lambda pair: pair[0])
    return [[flag for _, flag in held] for _, held in groupby(ordered, key=lambda pair: pair[0])]


def _square(x: float) -> float:
    return x * x  # ** would use the C library's pow


def _check(scores: Sequence[float], right: Sequence[bool], bounded: bool = False) -> None:
    if len(scores) != len(right) or not len(scores):
        raise ParameterError(
            f"scores and verdicts must be equal in number and not empty, got {len(scores)} and {len(right)}"
        )
    if any(score != score for score in scores):
        raise ParameterError("a score is NaN")
    if bounded and not all(0 <= score <= 1 for score in scores):
        raise ParameterError("confidences must lie in [0, 1]")
