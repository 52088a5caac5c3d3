"""Predictions: how many of the next problems are right, and sets of answers that hold a right one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from intact.errors import ParameterError
from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import Block, Paragraph, Table
from intact.evaluate.report.sections.base import Omission, ReportSection, SectionBody
from intact.evaluate.samples import own_samples
from intact.evaluate.scores import DIGITS
from intact.exact import significant
from intact.stats.answer_sets import least_share, leave_one_out, right_share
from intact.stats.prediction import predict_right

PROBLEMS = 20
"""The least number of problems from which others are predicted."""
LEVEL = 0.9
AHEAD = (100, 20)
"""Numbers of problems to come."""
SET_LEVELS = (0.5, 0.7, 0.9)


def _make(arms: Sequence[ReportArm]) -> SectionBody | Omission:
    """Show bounds of the right answers among the next problems, and how sets of answers fare."""
    predicted = list(_predicted(arms))
    if not predicted:
        return Omission(f"no run has graded answers to {PROBLEMS} problems or more")
    blocks: list[Block] = [
        *predicted,
        Paragraph(
            "By two hypergeometric tails, exact whatever the problems are like, if those to come are drawn as these "
            "were: from the same source, in an order that says nothing. Of each problem one answer counts, the first "
            "seed's."
        ),
    ]
    rows = [row for arm in arms for row in _sets(arm)]
    if rows:
        headings = ["run", "level", "votes needed", "sets with a right answer", "mean size", "of one answer", "empty"]
        blocks.append(Table(headings, rows))
        blocks.append(
            Paragraph(
                "Conformal sets: all answers with so large a share of the votes that a right one is among them with a "
                "chance of the level or more, for one more problem drawn as these were. How sets fare is counted on "
                "these problems, each with the share of votes that the others ask for."
            )
        )
    return SectionBody(blocks)


def _predicted(arms: Sequence[ReportArm]) -> Iterator[Paragraph]:
    """Yield a sentence for each run with problems enough."""
    for arm in arms:
        first: dict[str, bool | None] = {}
        for record in arm.records:
            first.setdefault(record.id, record.correct)
        verdicts = list(first.values())
        if len(verdicts) < PROBLEMS or None in verdicts:
            continue
        right = sum(map(bool, verdicts))
        bounds = [predict_right(right, len(verdicts), ahead, LEVEL) for ahead in AHEAD]
        far, near = (
            f"between {low} and {high} of the next {ahead}" for ahead, (low, high) in zip(AHEAD, bounds, strict=True)
        )
        yield Paragraph(
            f"{arm.name}: {right:,} of {len(verdicts):,} are right. {LEVEL:.0%} sure that {far} are right, and {near}."
        )


def _sets(arm: ReportArm) -> Iterator[list[str]]:
    """Yield how sets of answers fare by levels, for a run whose samples are independent draws."""
    if len(arm.samples) < PROBLEMS:
        return
    answers, right = [], []
    for name in arm.samples:
        drawn = [one for record in arm.records if record.id == name for one in own_samples(record)]
        answers.append([one.answer for one in drawn])
        right.append([bool(one.correct) for one in drawn])
    try:
        shares = [right_share(given, flags) for given, flags in zip(answers, right, strict=True)]
    except ParameterError:  # one answer was graded both right and wrong
        return
    loosest = least_share(shares, SET_LEVELS[0])
    if loosest is not None and loosest * len(answers[0]) <= 1:  # sets are all that was drawn, as of programs
        return
    for level in SET_LEVELS:
        least = least_share(shares, level)
        found = leave_one_out(answers, right, level)
        if least is None or found.abstained == 1:
            yield [arm.name, f"{level:.0%}", "no sampled answers will do: abstain", "", "", "", ""]
            continue
        parts = [
            f"{significant(part, DIGITS):.1%}" for part in (float(least), found.covered, found.single, found.empty)
        ]
        yield [arm.name, f"{level:.0%}", *parts[:2], f"{significant(found.size, DIGITS):.2f}", *parts[2:]]


SECTION = ReportSection("What was not run", _make)
