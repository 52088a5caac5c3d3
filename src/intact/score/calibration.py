"""How far scores can be trusted: whether higher ones are right more often, and whether 0.8 is right in 80 of 100 cases.

All functions take scores, or confidences in [0, 1], and whether each text was right.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from intact.errors import ParameterError
from intact.reason.exact import ln, mean


class Bin(NamedTuple):
    """Texts with similar confidence.

    Attributes
    ----------
    low, high
        Bounds of their confidence.
    texts
        How many they are.
    confidence
        Its mean.
    right
        The share that is right.
    """

    low: float
    high: float
    texts: int
    confidence: float
    right: float


def auroc(scores: Sequence[float], right: Sequence[bool]) -> float | None:
    """Return the chance that a right text scores above a wrong one, ties counting half; None if one kind is missing.

    0.5 is what a coin gives. (The area under the receiver operating characteristic, by ranks.)
    """
    _check(scores, right)
    good = sum(right)
    bad = len(right) - good
    if not good or not bad:
        return None
    order = sorted(zip(scores, right, strict=True), key=lambda pair: pair[0])
    won, below, place = Fraction(0), 0, 0
    while place < len(order):
        end = place
        while end < len(order) and order[end][0] == order[place][0]:
            end += 1
        here = sum(flag for _, flag in order[place:end])
        wrong = end - place - here
        won += here * (below + Fraction(wrong, 2))
        below += wrong
        place = end
    return float(won / (good * bad))


def brier(confidences: Sequence[float], right: Sequence[bool]) -> float:
    """Return the mean squared difference between confidence and truth; 0.25 is what saying 0.5 gives."""
    _check(confidences, right, bounded=True)
    return mean((confidence - flag) ** 2 for confidence, flag in zip(confidences, right, strict=True))


def log_loss(confidences: Sequence[float], right: Sequence[bool], least: float = 1e-6) -> float:
    """Return the mean negative log-probability of the truth, in nats; confidences stay `least` away from 0 and 1."""
    _check(confidences, right, bounded=True)
    kept = [min(max(confidence, least), 1 - least) for confidence in confidences]
    return -mean(ln(chance if flag else 1 - chance) for chance, flag in zip(kept, right, strict=True))


def reliability(confidences: Sequence[float], right: Sequence[bool], bins: int = 10) -> list[Bin]:
    """Return texts by confidence, in bins of one width, empty ones left out; 1 belongs to the last."""
    _check(confidences, right, bounded=True)
    if bins < 1:
        raise ParameterError(f"there must be at least one bin, got {bins}")
    sorted_in: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for confidence, flag in zip(confidences, right, strict=True):
        sorted_in[min(int(confidence * bins), bins - 1)].append((confidence, flag))
    return [
        Bin(
            i / bins,
            (i + 1) / bins,
            len(held),
            mean(pair[0] for pair in held),
            sum(pair[1] for pair in held) / len(held),
        )
        for i, held in enumerate(sorted_in)
        if held
    ]


def calibration_error(confidences: Sequence[float], right: Sequence[bool], bins: int = 10) -> float:
    """Return the mean distance between confidence and share right over bins, weighted by count (ECE)."""
    found = reliability(confidences, right, bins)
    return sum(held.texts * abs(held.confidence - held.right) for held in found) / len(right)


class Choice(NamedTuple):
    """What choosing one of several texts by score would give.

    Attributes
    ----------
    chosen
        Share of problems whose text with the highest score is right; of several such texts the share that is.
    anyone
        The mean share of right texts: what a coin gives.
    best
        Share of problems with any right text: what a perfect score gives.
    """

    chosen: float
    anyone: float
    best: float


def choice(scores: Sequence[Sequence[float]], right: Sequence[Sequence[bool]]) -> Choice:
    """Return what choosing by score gives, over problems with several texts each."""
    if not scores:
        raise ParameterError("there are no problems")
    chosen, anyone, best = [], [], []
    for values, flags in zip(scores, right, strict=True):
        _check(values, flags)
        top = [flag for value, flag in zip(values, flags, strict=True) if value == max(values)]
        chosen.append(sum(top) / len(top))
        anyone.append(sum(flags) / len(flags))
        best.append(float(any(flags)))
    return Choice(mean(chosen), mean(anyone), mean(best))


def _check(scores: Sequence[float], right: Sequence[bool], bounded: bool = False) -> None:
    if len(scores) != len(right) or not len(scores):
        raise ParameterError(f"there must be as many scores as verdicts, and one at least: {len(scores)}, {len(right)}")
    if any(score != score for score in scores):
        raise ParameterError("a score is no number")
    if bounded and not all(0 <= score <= 1 for score in scores):
        raise ParameterError("confidences must lie in [0, 1]")
