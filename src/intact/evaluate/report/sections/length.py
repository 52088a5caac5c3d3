"""The share of right answers by the length of texts, with the difficulty of problems taken out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from intact.evaluate.report import figures
from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import Block, Paragraph, Picture, Table
from intact.evaluate.report.formatting import bounds, points, settled, with_bounds
from intact.evaluate.report.sections.base import (
    MIXED,
    Omission,
    ReportSection,
    SectionBody,
    by_run,
    drawn_samples,
    join_reasons,
    measured,
    omission_notes,
    too_few_mixed,
)
from intact.evaluate.results import ItemSample
from intact.stats.association import Slope, cliffs_delta, ratio_of_sums, slope
from intact.stats.checks import Floats
from intact.stats.intervals import SHARES, Interval
from intact.stats.paired import McNemar, mcnemar

UNIT = 100
"""Tokens to which slopes refer."""
FIFTHS = 5


class LengthFindings(NamedTuple):
    """The relation of length and being right in one run.

    Attributes
    ----------
    texts, problems, mixed
        Whole texts, the problems that they answer, and those of them with both right and wrong whole texts.
    cut, cut_right
        Texts that were cut, which are left out, and the right ones among them.
    pooled, within
        The change of the share of right answers with each token, over all texts and within problems.
    delta : Interval
        Cliff's delta of the lengths of right texts against wrong ones, within problems.
    median_right, median_wrong
        Tokens.
    votes : McNemar
        The vote weighted by 1 / length against the plain vote, with right as well as wrong problems.
    bins : list of LengthBin
    """

    texts: int
    problems: int
    mixed: int
    cut: int
    cut_right: int
    pooled: Slope
    within: Slope
    delta: Interval
    median_right: float
    median_wrong: float
    votes: McNemar
    bins: list[LengthBin]


class LengthBin(NamedTuple):
    """A fifth of the texts by length: mean tokens, share right with interval, and the share expected by difficulty.

    What is expected is the mean share right among the other texts of each text's own problem.
    """

    tokens: float
    right: Interval
    expected: float


def measure(samples: dict[str, list[ItemSample]]) -> LengthFindings | Omission:
    """Measure the samples of a run, by problem; cut ones count in the votes alone."""
    whole = {name: [one for one in own if not one.cut] for name, own in samples.items()}
    mixed = sum(len({bool(one.correct) for one in own}) == 2 for own in whole.values())
    if mixed < MIXED:
        return too_few_mixed(mixed, "whole texts")
    names = [name for name, own in whole.items() for _ in own]
    kept = [one for own in whole.values() for one in own]
    tokens = np.array([one.tokens for one in kept], np.float64)
    right = np.array([bool(one.correct) for one in kept], np.float64)
    lost = [one for own in samples.values() for one in own if one.cut]
    return LengthFindings(
        len(kept),
        sum(map(bool, whole.values())),
        mixed,
        len(lost),
        cut_right=sum(bool(one.correct) for one in lost),
        pooled=slope(tokens, right, names),
        within=slope(tokens, right, names, within=True),
        delta=cliffs_delta(tokens, right, names),
        median_right=float(np.median(tokens[right == 1])),
        median_wrong=float(np.median(tokens[right == 0])),
        votes=mcnemar([_vote(own, True) for own in samples.values()], [_vote(own, False) for own in samples.values()]),
        bins=_bins(tokens, right, names),
    )


def _vote(samples: Sequence[ItemSample], by_length: bool) -> bool:
    """Return the verdict on the answer with most votes, the first seen of several; no text without one votes."""
    votes: dict[str, float] = {}
    right: dict[str, bool] = {}
    for one in samples:
        if one.answer is not None:
            votes[one.answer] = votes.get(one.answer, 0) + (1 / max(one.tokens, 1) if by_length else 1)
            right.setdefault(one.answer, bool(one.correct))
    return bool(votes) and right[max(votes, key=lambda answer: votes[answer])]


def _bins(tokens: Floats, right: Floats, names: Sequence[str]) -> list[LengthBin]:
    """Return fifths of the texts, but for texts that are alone of their problem: nothing is expected of them."""
    count, good = Counter(names), Counter(name for name, one in zip(names, right, strict=True) if one)
    several = np.array([count[name] > 1 for name in names])
    others = np.array(
        [(good[name] - one) / max(count[name] - 1, 1) for name, one in zip(names, right, strict=True)], np.float64
    )
    order = np.argsort(tokens, kind="stable")
    found = []
    for places in np.array_split(order[several[order]], FIFTHS):
        of_bin, rights = Counter(names[i] for i in places), Counter(names[i] for i in places if right[i])
        if len(of_bin) < 2:
            continue
        share = ratio_of_sums([rights[name] for name in of_bin], list(of_bin.values()), support=SHARES)
        found.append(LengthBin(float(tokens[places].mean()), share, float(others[places].mean())))
    return found


def _make(arms: Sequence[ReportArm]) -> SectionBody | Omission:
    found, lacking = by_run(arms, lambda arm: measured(drawn_samples(arm), measure))
    if not found:
        return join_reasons(lacking)
    blocks: list[Block] = [_sentence(name, one) for name, one in found.items()]
    lines = []
    for name, one in found.items():
        x, shares = [part.tokens for part in one.bins], [part.right for part in one.bins]
        low, high = [share.low for share in shares], [share.high for share in shares]
        lines.append(figures.PlotLine(f"share right, {name}", x, [share.estimate for share in shares], low, high=high))
        lines.append(figures.PlotLine(f"expected by difficulty, {name}", x, [part.expected for part in one.bins]))
    caption = (
        "Share of right answers in each fifth of the texts by length, with 95% intervals over problems, and the share "
        "that the other texts of the same problems have: where the two agree, long texts are of hard problems."
    )
    blocks.append(Picture(figures.curves(f"length {arms[0].label}", lines, "tokens of a text", "right"), caption))
    rows = [
        [
            name, f"{one.texts:,} of {one.problems}, {one.mixed} mixed", f"{one.cut:,} ({one.cut_right} right)",
            _per_unit(one.pooled), _per_unit(one.within), with_bounds(*one.delta, form=lambda value: f"{value:+z.2f}"),
            f"{one.median_right:,.0f} / {one.median_wrong:,.0f}",
            f"{points(one.votes.difference)} ({bounds(one.votes.low, one.votes.high, points)})",
        ]
        for name, one in found.items()
    ]  # fmt: skip
    head = [
        "run", "texts of problems", "cut, left out", f"points per {UNIT} tokens, pooled", "the same within problems",
        "Cliff's delta", "median tokens, right / wrong", "points of the vote by 1/length",
    ]  # fmt: skip
    blocks.append(Table(head, rows))
    blocks.append(
        Paragraph(
            "In parentheses 95% intervals over problems. Mixed problems have both right and wrong whole texts: they "
            "alone tell what length means within a problem. Cliff's delta: of pairs of a right and a wrong text of one "
            "problem, the share where the right one is longer less the share where it is shorter. The vote by "
            "1/length is compared with the plain vote on the same texts (McNemar, Bonett and Price)."
        )
    )
    return SectionBody([*blocks, *omission_notes(lacking)], found)


def _sentence(name: str, one: LengthFindings) -> Paragraph:
    low, high = one.within.low, one.within.high
    change = f"{_points_of(one.within)} points for each {UNIT} tokens more"
    if low <= 0 <= high:
        words = f"within a problem no effect of length on being right is shown ({change})"
    else:
        words = f"within a problem longer texts are right {'more' if low > 0 else 'less'} often ({change})"
    pooled = f"over all texts, of easy and hard problems together, it is {_points_of(one.pooled)}"
    return Paragraph(f"{name}: {words}; {pooled}.")


def _points_of(one: Slope) -> str:
    return points(UNIT * one.estimate)


def _per_unit(one: Slope) -> str:
    low, high = (settled(UNIT * bound) for bound in (one.low, one.high))
    return with_bounds(UNIT * one.estimate, low, high, points)


SECTION = ReportSection(
    "Length",
    _make,
    (
        "arXiv 2502.15631, by a linear regression with a constant for each problem, not a logistic one with levels",
        "arXiv 2504.14047 for lengths of right and wrong texts and the vote by length",
    ),
)
