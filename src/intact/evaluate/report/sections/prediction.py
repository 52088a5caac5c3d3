"""Predictions for new problems: the number of right answers, safe answers, and sets that contain a right answer.

The only assumption is that the new problems are exchangeable with the graded ones (docs/statistics.md, "What was not
run").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import partial
from typing import Any, NamedTuple

from intact._base.exact import Number
from intact.evaluate.predicted import AHEAD, LEVEL, PROBLEMS, next_right, sure_words
from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import Block, Paragraph, table
from intact.evaluate.report.formatting import bounds, percent, settled, three, with_bounds
from intact.evaluate.report.sections.base import Arms, Drawn, OmittedError, measure_each, of_samples, section_by_run
from intact.evaluate.results import ItemRecord
from intact.evaluate.samples import first_records
from intact.stats.answer_sets import least_share, least_share_of_batch, right_share, sets_at, share_rank
from intact.stats.batches import at_most_wrong, predict_mean, rank_quantile
from intact.stats.intervals import Interval, wilson
from intact.stats.prediction import PredictedCount

SET_LEVELS = (0.5, 0.7, 0.9)
"""Coverage levels of answer sets for one more problem."""
HOLDING = (80, 90, 95)
"""Numbers of sets, among those of the next hundred problems, that must contain a right answer."""
WRONG = (5, 10, 20)
"""Tolerated numbers of wrong answers on the next hundred problems."""


class SafeAnswers(NamedTuple):
    """A confidence threshold that limits the number of wrong answers on new problems.

    Attributes
    ----------
    wrong : int
        Maximum number of wrong answers on the next `AHEAD[0]` problems.
    above : float
        The threshold; infinity if no answer may be given, minus infinity if every answer may.
    given : Interval
        The share of graded problems whose answer is above the threshold.
    mistakes : int
        Number of wrong answers among them.
    """

    wrong: int
    above: float
    given: Interval
    mistakes: int


class SetFindings(NamedTuple):
    """The coverage and the size of answer sets with a guarantee.

    Attributes
    ----------
    promise : str
        The problems for which the sets contain a right answer, and the level.
    votes : float or None
        The share of votes that an answer needs to be in the set; None if no set of sampled answers suffices.
    covered : Interval or None
        The share of sets that contain a right answer, counted on the graded problems.
    size : Interval or None
        Mean number of answers; the bounds are nan if all sets have the same size.
    single, empty : float or None
        Shares of problems whose set contains exactly one answer and none.
    """

    promise: str
    votes: float | None
    covered: Interval | None = None
    size: Interval | None = None
    single: float | None = None
    empty: float | None = None


class RunPrediction(NamedTuple):
    """The predictions of one run; `because` maps missing parts to the reasons."""

    right: int
    graded: int
    counts: Mapping[int, PredictedCount]
    share: Interval | None
    safe: Sequence[SafeAnswers]
    sets: Sequence[SetFindings]
    because: Mapping[str, str]


def _show(found: Mapping[str, RunPrediction], _: Arms) -> Iterator[Block]:
    yield Paragraph(
        "By two hypergeometric tails, exact whatever the problems are like, if those to come are drawn as these "
        "were: from the same source, in an order that says nothing. Of each problem one answer counts, the first "
        "seed's."
    )
    yield from _of_shares(found)
    yield from _of_safe(found)
    yield from _of_sets(found)
    for name, one in found.items():
        for part, because in one.because.items():
            yield Paragraph(f"{name}: {part} are not shown, because {because}.")


def measure(arm: ReportArm) -> RunPrediction:
    """Return all predictions that the records of a run allow."""
    first = list(first_records(arm.records).values())
    if len(first) < PROBLEMS:
        raise OmittedError(f"it has graded answers to {len(first)} problems, but {PROBLEMS} are needed")
    if any(record.correct is None for record in first):
        raise OmittedError("a verdict on one of its answers is undecided")
    right = sum(bool(record.correct) for record in first)
    parts: dict[str, Callable[[], Any]] = {
        "shares of right samples": partial(of_samples(_share), arm),
        "answers that may be given": partial(_safe, first),
        "sets of answers": partial(of_samples(_sets), arm),
    }
    found, because = measure_each(parts, lambda part: part())
    share, safe, sets = map(found.get, parts)
    counts = next_right(right, len(first))
    return RunPrediction(right, len(first), counts, share, safe=safe or (), sets=sets or (), because=because)


def _share(drawn: Drawn) -> Interval:
    """Return the mean share of right samples, with bounds on the mean share for the next problems."""
    shares = [Fraction(sum(bool(one.correct) for one in own), len(own)) for own in drawn.values()]
    low, high = predict_mean(shares, AHEAD[0], LEVEL)
    return Interval(float(sum(shares) / len(shares)), float(low), float(high))


def _safe(first: Sequence[ItemRecord]) -> tuple[SafeAnswers, ...]:
    """Return the confidence thresholds; a problem without an answer counts as not wrong."""
    answered = [record for record in first if record.answer is not None]
    stated = [record.confidence for record in answered if record.confidence is not None]
    if len(stated) < len(answered) or not answered:
        raise OmittedError("its method does not state a confidence for all its answers")
    right = [bool(record.correct) for record in answered]
    silent = len(first) - len(answered)
    found = []
    for wrong in WRONG:
        above = float(
            at_most_wrong([*stated, *[0.0] * silent], [*right, *[True] * silent], AHEAD[0], wrong, level=LEVEL)
        )
        given = [flag for confidence, flag in zip(stated, right, strict=True) if confidence > above]
        share = Interval(len(given) / len(first), *wilson(len(given), len(first)))
        found.append(SafeAnswers(wrong, above, share, given.count(False)))
    return tuple(found)


def _sets(drawn: Drawn) -> tuple[SetFindings, ...]:
    """Return the coverage and size of answer sets, for one more problem and for the next hundred together."""
    answers = [[one.answer for one in own] for own in drawn.values()]
    right = [[bool(one.correct) for one in own] for own in drawn.values()]
    shares = [right_share(given, flags) for given, flags in zip(answers, right, strict=True)]
    loosest = least_share(shares, SET_LEVELS[0])
    if loosest is not None and loosest * len(answers[0]) <= 1:
        raise OmittedError(
            "answers seldom repeat, so a set that contains a right answer contains everything that was drawn"
        )
    count, ahead = len(shares), AHEAD[0]

    def findings(promise: str, least: Number | None, rank: int) -> SetFindings:
        if least is None:
            return SetFindings(promise, None)
        fare = sets_at(answers, right, least)
        covered = Interval(fare.covered, *fare.covered_bounds(rank))
        size = Interval(fare.size, *(fare.size_bounds() or (math.nan, math.nan)))
        return SetFindings(promise, float(least), covered, size, single=fare.single, empty=fare.empty)

    return (
        *(
            findings(f"one more problem, {level:.0%}", least_share(shares, level), share_rank(count, level))
            for level in SET_LEVELS
        ),
        *(
            findings(
                f"{holding} of the next {ahead}, {LEVEL:.0%}",
                least_share_of_batch(shares, ahead, holding / ahead, LEVEL),
                rank_quantile(count, ahead, holding, LEVEL),
            )
            for holding in HOLDING
        ),
    )


def _of_shares(found: Mapping[str, RunPrediction]) -> Iterator[Block]:
    return table(
        (
            {
                "run": name,
                "right samples": percent(one.share.estimate),
                f"of the next {AHEAD[0]} problems, {LEVEL:.0%} sure": bounds(one.share.low, one.share.high),
            }
            for name, one in found.items()
            if one.share is not None
        ),
        "The mean share of right samples over problems, and its bounds for problems to come, by Batch Predictive "
        "Inference: exact, and wide where problems are either always or never solved.",
    )


def _of_safe(found: Mapping[str, RunPrediction]) -> Iterator[Block]:
    return table(
        (
            {
                "run": name,
                f"wrong of {AHEAD[0]}, at most": f"{one.wrong}",
                "answer if the confidence is above": _above(one.above),
                "answered here": with_bounds(one.given),
                "wrong here": f"{one.mistakes:,} of {round(one.given.estimate * run.graded):,}",
            }
            for name, run in found.items()
            for one in run.safe
        ),
        f"Who gives only answers with more confidence, and none to the other problems, gives at most so many wrong "
        f"answers to the next {AHEAD[0]} problems, {LEVEL:.0%} sure for all of them at once (Batch Predictive "
        "Inference; each row is a promise of its own). The last two columns count these problems; in parentheses "
        "95% intervals.",
    )


def _above(confidence: float) -> str:
    if math.isinf(confidence):
        return "answer nothing" if confidence > 0 else "answer everything"
    return three(confidence)


def _of_sets(found: Mapping[str, RunPrediction]) -> Iterator[Block]:
    return table(
        (
            {
                "run": name,
                "for": one.promise,
                "votes needed": _or_blank(one.votes) or "no sampled answers will do: abstain",
                "sets with a right answer": with_bounds(one.covered),
                "mean size": _size(one.size),
                "of one answer": _or_blank(one.single),
                "empty": _or_blank(one.empty),
            }
            for name, run in found.items()
            for one in run.sets
        ),
        "Conformal sets: all answers with so large a share of the votes that a right one is among them with a "
        "chance of the level or more, for one more problem drawn as these were; or, of the next "
        f"{AHEAD[0]} sets, in so many at once. How sets by these votes fare is counted on these problems; in "
        "parentheses 95% intervals over problems.",
    )


def _or_blank(share: float | None) -> str:
    return "" if share is None else percent(share)


def _size(size: Interval | None) -> str:
    if size is not None and math.isnan(size.low):
        return _two(size.estimate)
    return with_bounds(size, _two)


def _two(value: float) -> str:
    return f"{settled(value):.2f}"


SECTION = section_by_run(
    "What was not run",
    70,
    measure,
    _show,
    sources=(
        "arXiv 2409.13990 for batches, by the exact law of ranks; Thatcher 1964 for counts; Vovk et al. 2005 for sets",
    ),
    sentence=lambda one: sure_words(one.right, one.graded),
)
