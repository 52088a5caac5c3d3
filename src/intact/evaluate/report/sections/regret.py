"""Regret of test-time compute: how late texts, and votes, come to the right answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from intact.evaluate.report import figures
from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import Block, Paragraph, Picture, Table
from intact.evaluate.report.formatting import percent, settled, with_bounds
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
    once,
)
from intact.evaluate.results import ItemSample
from intact.evaluate.samples import direct, own_samples
from intact.evaluate.scores import curve
from intact.stats.association import ratio_of_sums
from intact.stats.choosing_at_k import majority_at_k
from intact.stats.coverage import pass_at_k
from intact.stats.intervals import SHARES, Interval
from intact.stats.laws.regret import regret

_CUTS = 16
"""Points of the curves in the picture."""


class TextRegret(NamedTuple):
    """The regret of texts that are read as far as they are written.

    Attributes
    ----------
    budget : int
        Tokens up to which the curve counts.
    regret : Interval
    wrong : float
        The part that is left if every text had its last answer from its first token on: the share of wrong texts.
    settled : float or None
        Of right texts, the share of their tokens after which the answer is right for good; None if no text is right.
    unknown : float
        The share of answers at ends of steps that no whole text gives, so that they were not judged: they are wrong
        unless they are the data's.
    cuts : list of tuple
        Tokens, and the share of texts whose answer is right if they are cut there.
    """

    budget: int
    regret: Interval
    wrong: float
    settled: float | None
    unknown: float
    cuts: list[tuple[float, float]]


class VoteRegret(NamedTuple):
    """The regret of the vote over its tokens, and of a chooser that is always right if it can be.

    Attributes
    ----------
    budget : float
        Tokens of a problem up to which the curves count.
    vote, coverage : Interval
    """

    budget: float
    vote: Interval
    coverage: Interval


class RegretFindings(NamedTuple):
    """The regret of one run: of its texts, and of the vote; None where it has none, for the reason in `because`."""

    texts: TextRegret | None
    votes: VoteRegret | None
    because: str


Curve = Sequence[tuple[int, bool]]
"""Ends of the steps of a text in tokens, and whether the answer that is read there is right."""


def text_curves(arm: ReportArm) -> tuple[dict[str, list[Curve]], float] | Omission:
    """Return the curves of all texts by problem, and the share of answers on the way that were never judged."""
    if arm.run.version < 3:
        return Omission("its file, of an earlier version, does not state answers at the ends of steps")
    if len(arm.rates) < 2:
        return Omission("it has only one problem")
    if not arm.settled or not direct(arm.records):
        return Omission("its texts are not independent draws")
    found: dict[str, list[Curve]] = {}
    unknown = ends = 0
    for record in arm.records:
        own = own_samples(record)
        verdicts = {one.answer: bool(one.correct) for one in own if one.answer is not None} | {record.right: True}
        for sample in own:
            points = [(step.tokens, step.answer) for step in sample.steps[:-1]]
            unknown += sum(answer is not None and answer not in verdicts for _, answer in points)
            ends += len(points) + 1
            right = [(tokens, answer is not None and verdicts.get(answer, False)) for tokens, answer in points]
            found.setdefault(record.id, []).append(_ascending([*right, (sample.tokens, bool(sample.correct))]))
    if not any(len(one) > 1 for own in found.values() for one in own):
        return Omission("its texts have one step each")
    return found, unknown / ends


def _ascending(points: Sequence[tuple[int, bool]]) -> Curve:
    """Return the last point of each number of tokens above 0."""
    return [one for one in {tokens: (tokens, right) for tokens, right in points}.values() if one[0] > 0]


def measure_texts(curves: Mapping[str, Sequence[Curve]], unknown: float, budget: int) -> TextRegret:
    """Measure the regret of texts within a budget of tokens for each."""
    sums, sizes = [], []
    for own in curves.values():
        sums.append(sum(_regret(one, budget) for one in own))
        sizes.append(len(own))
    every = [one for own in curves.values() for one in own if one]
    places = np.unique(np.geomspace(max(1, budget / 64), budget, _CUTS).round())
    cuts = [(float(at), sum(_right_at(one, at) for one in every) / sum(sizes)) for at in places]
    right = [one for one in every if one[-1][1]]
    tokens = sum(one[-1][0] for one in right)
    return TextRegret(
        budget,
        ratio_of_sums(sums, sizes, support=SHARES),
        1 - len(right) / sum(sizes),
        sum(_settled_at(one) for one in right) / tokens if right else None,
        unknown=unknown,
        cuts=cuts,
    )


def _regret(points: Curve, budget: int) -> float:
    if not points:
        return 1.0
    tokens, right = zip(*points, strict=True)
    return regret(tokens, right, budget, straight=False)


def _right_at(points: Curve, tokens: float) -> bool:
    return next((right for at, right in reversed(points) if at <= tokens), False)


def _settled_at(points: Curve) -> int:
    """Return the tokens of a text that is right in the end from which on it is right."""
    at = points[-1][0]
    for tokens, right in reversed(points):
        if not right:
            break
        at = tokens
    return at


def measure_votes(samples: Mapping[str, Sequence[ItemSample]], budget: float) -> VoteRegret | Omission:
    """Measure the regret of the vote and of coverage over the tokens of a problem."""
    count = min(map(len, samples.values()))
    if count < 2 or len(samples) < MIXED:
        return Omission(f"the regret of a vote needs two samples of each of {MIXED} problems")
    verdicts = [[bool(one.correct) for one in own[:count]] for own in samples.values()]
    answers = [[one.answer for one in own[:count]] for own in samples.values()]
    each = float(np.mean([one.tokens for own in samples.values() for one in own]))
    numbers = curve(count)
    right = [sum(own) for own in verdicts]
    n = [count] * len(right)
    found = []
    for table in ([majority_at_k(answers, verdicts, k) for k in numbers], [pass_at_k(n, right, k) for k in numbers]):
        values = [regret([each * k for k in numbers], own, budget) for own in np.array(table).T]
        found.append(ratio_of_sums(values, np.ones(len(values)), support=SHARES))
    return VoteRegret(budget, *found)


def _tokens_of_problem(arm: ReportArm) -> float:
    return max((sum(one.tokens for one in own_samples(record)) for record in arm.records), default=0)


def _make(arms: Sequence[ReportArm]) -> SectionBody | Omission:
    curves, no_texts = by_run(arms, lambda arm: once(arm, text_curves))
    drawn, no_votes = by_run(arms, drawn_samples)
    longest = max((one[-1][0] for own, _ in curves.values() for of in own.values() for one in of if one), default=0)
    largest = max((_tokens_of_problem(arm) for arm in arms if arm.name in drawn), default=0.0)
    found: dict[str, RegretFindings] = {}
    lacking: dict[str, str] = {}
    for arm in arms:
        reasons = [of[arm.name] for of in (no_texts, no_votes) if arm.name in of]
        texts = measure_texts(*curves[arm.name], longest) if arm.name in curves and longest else None
        votes: VoteRegret | Omission | None = None
        if arm.name in drawn and largest:
            votes = measured(drawn[arm.name], partial(measure_votes, budget=largest))
        if isinstance(votes, Omission):
            reasons.append(votes.because)
            votes = None
        if texts is None and votes is None:
            lacking[arm.name] = "; ".join(dict.fromkeys(reasons)) or "its texts are empty"
        else:
            found[arm.name] = RegretFindings(texts, votes, "; ".join(dict.fromkeys(reasons)))
    if not found:
        return join_reasons(lacking)
    blocks = [*_of_texts(found, arms[0].label), *_of_votes(found)]
    return SectionBody([*blocks, *omission_notes(lacking)], found)


def _of_texts(found: Mapping[str, RegretFindings], label: str) -> list[Block]:
    texts = {name: one.texts for name, one in found.items() if one.texts is not None}
    if not texts:
        return []
    blocks: list[Block] = []
    for name, one in texts.items():
        if one.settled is not None:
            blocks.append(
                Paragraph(
                    f"{name}: right texts have their answer for good after {percent(one.settled)} of their tokens; "
                    f"the other {percent(1 - one.settled)} do not change whether they are right."
                )
            )
    lines = [
        figures.PlotLine(name, [at for at, _ in one.cuts], [right for _, right in one.cuts])
        for name, one in texts.items()
    ]
    caption = "The share of texts whose answer is right if they are cut after so many tokens and read as they are."
    blocks.append(Picture(figures.curves(f"regret {label}", lines, "tokens of a text", "right"), caption))
    rows = [
        [
            name, f"{one.budget:,}", with_bounds(*one.regret), percent(one.wrong),
            percent(one.regret.estimate - one.wrong), percent(one.unknown),
        ]
        for name, one in texts.items()
    ]  # fmt: skip
    head = ["run", "budget, tokens of a text", "regret", "by wrong texts", "by waiting", "answers not judged"]
    blocks.append(Table(head, rows))
    blocks.append(
        Paragraph(
            "Regret is the share lost against being right from the first token on, with the longest text of all runs "
            "as budget. The paper makes the model answer at each place; here the answer is what the task reads in the "
            "text up to the end of a step, so that texts that calculate first wait longer. In parentheses 95% "
            "intervals over problems."
        )
    )
    return blocks


def _of_votes(found: Mapping[str, RegretFindings]) -> list[Block]:
    votes = {name: one.votes for name, one in found.items() if one.votes is not None}
    if not votes:
        return []
    rows = [
        [name, f"{settled(one.budget):,.0f}", with_bounds(*one.vote), with_bounds(*one.coverage)]
        for name, one in votes.items()
    ]
    return [
        Table(["run", "budget, tokens of a problem", "regret of the vote", "of a perfect chooser"], rows),
        Paragraph(
            "Accuracy over the tokens of all samples, joined by straight lines from none at 0 tokens, level after the "
            "last; the budget is the most that a problem of any run took."
        ),
    ]


SECTION = ReportSection(
    "Regret of test-time compute",
    _make,
    ("arXiv 2503.07572, from answers that are read in texts, not answers that the model is made to give",),
)
