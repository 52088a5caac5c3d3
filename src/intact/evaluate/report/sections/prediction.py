"""Predictions: how many of the next problems are right, what may be answered, sets of answers that hold a right one.

Everything here assumes that the problems to come are exchangeable with those graded, and nothing else
(docs/statistics.md, "What was not run").
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from intact.evaluate.predicted import AHEAD, LEVEL, PROBLEMS, next_right, sure_words
from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import Block, Paragraph, Table
from intact.evaluate.report.formatting import bounds, percent, settled, with_bounds
from intact.evaluate.report.sections.base import (
    Omission,
    ReportSection,
    SectionBody,
    by_run,
    drawn_samples,
    join_reasons,
    measured,
    omission_notes,
)
from intact.evaluate.results import ItemRecord, ItemSample
from intact.evaluate.samples import first_records
from intact.stats.answer_sets import least_share, least_share_of_batch, right_share, sets_at, share_rank
from intact.stats.batches import at_most_wrong, predict_mean, rank_quantile
from intact.stats.intervals import Interval, wilson
from intact.stats.prediction import PredictedCount

SET_LEVELS = (0.5, 0.7, 0.9)
"""Levels of sets for one more problem."""
HOLDING = (80, 90, 95)
"""Sets, of those of the next hundred problems, that are to hold a right answer."""
WRONG = (5, 10, 20)
"""Wrong answers that can be borne among those to the next hundred problems."""


class SafeAnswers(NamedTuple):
    """A confidence above which so few of the next answers are wrong.

    Attributes
    ----------
    wrong : int
        Wrong answers at most, of `AHEAD[0]` problems to come.
    above : float
        The confidence; infinite if nothing may be answered, minus infinity if everything may.
    given : Interval
        The share of the graded problems whose answer is above it.
    mistakes : int
        The wrong ones among these.
    """

    wrong: int
    above: float
    given: Interval
    mistakes: int


class SetFindings(NamedTuple):
    """The coverage and the size of sets of answers that keep a promise.

    Attributes
    ----------
    promise : str
        For which problems, and how surely, they hold a right answer.
    votes : float or None
        The share of votes that an answer needs; None if no sampled answers will do.
    covered : Interval or None
        The share of sets that hold a right answer, counted on the graded problems.
    size : Interval or None
        Mean number of answers; without bounds (nan) if all sets have one size.
    single, empty : float or None
        Shares of problems whose set is one answer, and none.
    """

    promise: str
    votes: float | None
    covered: Interval | None = None
    size: Interval | None = None
    single: float | None = None
    empty: float | None = None


class RunPrediction(NamedTuple):
    """The predictions of one run; `because` says of the parts that it lacks why."""

    right: int
    graded: int
    counts: Mapping[int, PredictedCount]
    share: Interval | None
    safe: Sequence[SafeAnswers]
    sets: Sequence[SetFindings]
    because: Mapping[str, str]


def _make(arms: Sequence[ReportArm]) -> SectionBody | Omission:
    found, lacking = by_run(arms, _predicted)
    if not found:
        return join_reasons(lacking)
    blocks: list[Block] = [Paragraph(f"{name}: {sure_words(one.right, one.graded)}") for name, one in found.items()]
    blocks.append(
        Paragraph(
            "By two hypergeometric tails, exact whatever the problems are like, if those to come are drawn as these "
            "were: from the same source, in an order that says nothing. Of each problem one answer counts, the first "
            "seed's."
        )
    )
    blocks += [*_of_shares(found), *_of_safe(found), *_of_sets(found)]
    blocks += [
        Paragraph(f"{name}: {part} are not shown, because {because}.")
        for name, one in found.items()
        for part, because in one.because.items()
    ]
    return SectionBody([*blocks, *omission_notes(lacking)], found)


def _predicted(arm: ReportArm) -> RunPrediction | Omission:
    """Return all predictions of a run, or the reason why there are none."""
    first = list(first_records(arm.records).values())
    if len(first) < PROBLEMS:
        return Omission(f"it has graded answers to {len(first)} problems, and {PROBLEMS} are needed")
    if any(record.correct is None for record in first):
        return Omission("a verdict on one of its answers is undecided")
    right = sum(bool(record.correct) for record in first)
    drawn = drawn_samples(arm)
    share, sets = measured(drawn, _share), measured(drawn, _sets)
    safe = _safe(first)
    parts = {"shares of right samples": share, "answers that may be given": safe, "sets of answers": sets}
    return RunPrediction(
        right,
        len(first),
        next_right(right, len(first)),
        None if isinstance(share, Omission) else share,
        safe=() if isinstance(safe, Omission) else safe,
        sets=() if isinstance(sets, Omission) else sets,
        because={name: part.because for name, part in parts.items() if isinstance(part, Omission)},
    )


def _share(drawn: Mapping[str, Sequence[ItemSample]]) -> Interval:
    """Return the mean share of right samples, and the bounds of that of the next problems."""
    shares = [Fraction(sum(bool(one.correct) for one in own), len(own)) for own in drawn.values()]
    low, high = predict_mean(shares, AHEAD[0], LEVEL)
    return Interval(float(sum(shares) / len(shares)), float(low), float(high))


def _safe(first: Sequence[ItemRecord]) -> tuple[SafeAnswers, ...] | Omission:
    """Return the confidences above which few of the next answers are wrong; where there is no answer, none is."""
    answered = [record for record in first if record.answer is not None]
    stated = [record.confidence for record in answered if record.confidence is not None]
    if len(stated) < len(answered) or not answered:
        return Omission("its method does not state the confidence of all its answers")
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


def _sets(drawn: Mapping[str, Sequence[ItemSample]]) -> tuple[SetFindings, ...] | Omission:
    """Return how sets of answers fare, for one more problem and for the next hundred at once."""
    answers = [[one.answer for one in own] for own in drawn.values()]
    right = [[bool(one.correct) for one in own] for own in drawn.values()]
    shares = [right_share(given, flags) for given, flags in zip(answers, right, strict=True)]
    loosest = least_share(shares, SET_LEVELS[0])
    if loosest is not None and loosest * len(answers[0]) <= 1:
        return Omission("an answer is seldom given twice, so that a set that holds a right one is all that was drawn")
    count, ahead = len(shares), AHEAD[0]
    thresholds = [
        (f"one more problem, {level:.0%}", least_share(shares, level), share_rank(count, level)) for level in SET_LEVELS
    ]
    for holding in HOLDING:
        least = least_share_of_batch(shares, ahead, holding / ahead, LEVEL)
        words = f"{holding} of the next {ahead}, {LEVEL:.0%}"
        thresholds.append((words, least, rank_quantile(count, ahead, holding, LEVEL)))
    found = []
    for promise, least, rank in thresholds:
        if least is None:
            found.append(SetFindings(promise, None))
            continue
        fare = sets_at(answers, right, least)
        covered = Interval(fare.covered, *fare.covered_bounds(rank))
        size = Interval(fare.size, *(fare.size_bounds() or (math.nan, math.nan)))
        found.append(SetFindings(promise, float(least), covered, size, single=fare.single, empty=fare.empty))
    return tuple(found)


def _of_shares(found: Mapping[str, RunPrediction]) -> Iterator[Block]:
    rows = [
        [name, percent(one.share.estimate), bounds(one.share.low, one.share.high)]
        for name, one in found.items()
        if one.share is not None
    ]
    if rows:
        yield Table(["run", "right samples", f"of the next {AHEAD[0]} problems, {LEVEL:.0%} sure"], rows)
        yield Paragraph(
            "The mean share of right samples over problems, and its bounds for problems to come, by Batch Predictive "
            "Inference: exact, and wide where problems are either always or never solved."
        )


def _of_safe(found: Mapping[str, RunPrediction]) -> Iterator[Block]:
    rows = [
        [
            name, f"{one.wrong}", _above(one.above), with_bounds(*one.given),
            f"{one.mistakes:,} of {round(one.given.estimate * run.graded):,}",
        ]
        for name, run in found.items()
        for one in run.safe
    ]  # fmt: skip
    if rows:
        head = ["run", f"wrong of {AHEAD[0]}, at most", "answer if the confidence is above", "answered here"]
        yield Table([*head, "wrong here"], rows)
        yield Paragraph(
            f"Who gives only answers with more confidence, and none to the other problems, gives at most so many wrong "
            f"answers to the next {AHEAD[0]} problems, {LEVEL:.0%} sure for all of them at once (Batch Predictive "
            "Inference; each row is a promise of its own). The last two columns count these problems; in parentheses "
            "95% intervals."
        )


def _above(confidence: float) -> str:
    if math.isinf(confidence):
        return "answer nothing" if confidence > 0 else "answer everything"
    return f"{settled(confidence):.3f}"


def _of_sets(found: Mapping[str, RunPrediction]) -> Iterator[Block]:
    rows = [_set_row(name, one) for name, run in found.items() for one in run.sets]
    if rows:
        head = ["run", "for", "votes needed", "sets with a right answer", "mean size", "of one answer", "empty"]
        yield Table(head, rows)
        yield Paragraph(
            "Conformal sets: all answers with so large a share of the votes that a right one is among them with a "
            "chance of the level or more, for one more problem drawn as these were; or, of the next "
            f"{AHEAD[0]} sets, in so many at once. How sets by these votes fare is counted on these problems; in "
            "parentheses 95% intervals over problems."
        )


def _set_row(name: str, one: SetFindings) -> list[str]:
    if one.votes is None or one.covered is None or one.size is None or one.single is None or one.empty is None:
        return [name, one.promise, "no sampled answers will do: abstain", "", "", "", ""]
    size = f"{settled(one.size.estimate):.2f}"
    if not math.isnan(one.size.low):
        size = with_bounds(*one.size, form=lambda value: f"{settled(value):.2f}")
    return [
        name, one.promise, percent(one.votes), with_bounds(*one.covered), size, percent(one.single), percent(one.empty),
    ]  # fmt: skip


SECTION = ReportSection(
    "What was not run",
    _make,
    ("arXiv 2409.13990 for batches, by the exact law of ranks; Thatcher 1964 for counts; Vovk et al. 2005 for sets",),
)
