"""Regret of test-time compute: the accuracy lost before completions, and votes, arrive at the right answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from intact.evaluate.report import figures
from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import Block, Paragraph, Picture, table
from intact.evaluate.report.formatting import percent, settled, whole, with_bounds
from intact.evaluate.report.sections.base import (
    MIXED,
    Arms,
    Drawn,
    OmittedError,
    ReportSection,
    SectionBody,
    answer_grid,
    by_run,
    drawn_samples,
    measure_each,
    omission_notes,
    require,
)
from intact.evaluate.samples import direct, own_samples
from intact.evaluate.scores import curve
from intact.stats.association import ratio_of_sums
from intact.stats.checks import Floats
from intact.stats.choosing_at_k import majority_at_k
from intact.stats.coverage import pass_at_k
from intact.stats.intervals import SHARES, Interval
from intact.stats.laws.regret import regret

_CUTS = 16
"""Number of points per curve in the picture."""


class TextRegret(NamedTuple):
    """The regret of completions whose answer is read at the end of each step.

    Attributes
    ----------
    budget : int
        Number of tokens over which the curve is averaged.
    regret : Interval
    wrong : float
        The part of the regret due to wrong completions, which is their share.
    settled : float or None
        The share of the tokens of right completions after which the answer stays right; None if no completion is right.
    unknown : float
        The share of step-end answers that no complete sample gives. They were not judged, and count as wrong unless
        they equal the reference answer.
    cuts : list of tuple
        Numbers of tokens, and the share of completions whose answer is right if they are cut there.
    """

    budget: int
    regret: Interval
    wrong: float
    settled: float | None
    unknown: float
    cuts: list[tuple[float, float]]


class VoteRegret(NamedTuple):
    """The regret of the vote, and of a perfect chooser, over tokens.

    Attributes
    ----------
    budget : float
        Number of tokens per problem over which the curves are averaged.
    vote, coverage : Interval
    """

    budget: float
    vote: Interval
    coverage: Interval


class RegretFindings(NamedTuple):
    """The regret of a run's completions and of the vote; `because` is the reason if one of them is None."""

    texts: TextRegret | None
    votes: VoteRegret | None
    because: str


Curve = Sequence[tuple[int, bool]]
"""Ends of a completion's steps, in tokens; the flag is true if the answer read there is right."""


def text_curves(arm: ReportArm) -> tuple[dict[str, list[Curve]], float]:
    """Return the curves of all completions by problem, and the share of intermediate answers that were not judged."""
    if arm.run.version < 3:
        raise OmittedError("its file, written by an earlier version, does not state the answers at the ends of steps")
    if len(arm.rates) < 2:
        raise OmittedError("it has only one problem")
    if not arm.settled or not direct(arm.records):
        raise OmittedError("its texts are not independent draws")
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
        raise OmittedError("each of its texts has only one step")
    return found, unknown / ends


def _ascending(points: Sequence[tuple[int, bool]]) -> Curve:
    """Return the last point for each number of tokens above 0."""
    return [one for one in {tokens: (tokens, right) for tokens, right in points}.values() if one[0] > 0]


def measure_texts(curves: Mapping[str, Sequence[Curve]], unknown: float, budget: int) -> TextRegret:
    """Measure the regret of completions with a token budget per completion."""
    sums = [sum(_regret(one, budget) for one in own) for own in curves.values()]
    sizes = [len(own) for own in curves.values()]
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
    """Return the number of tokens after which the answer of a right completion stays right."""
    at = points[-1][0]
    for tokens, right in reversed(points):
        if not right:
            break
        at = tokens
    return at


def measure_votes(samples: Drawn, budget: float) -> VoteRegret:
    """Measure the regret of the vote and of coverage over the tokens spent on a problem."""
    count = min(map(len, samples.values()))
    if count < 2 or len(samples) < MIXED:
        raise OmittedError(f"the regret of a vote needs two samples of each of {MIXED} problems")
    grid, numbers = answer_grid(samples, count), curve(count)
    each = float(np.mean([one.tokens for own in samples.values() for one in own]))

    def mean_regret(by_number: Sequence[Floats]) -> Interval:
        values = [regret([each * k for k in numbers], own, budget) for own in np.array(by_number).T]
        return ratio_of_sums(values, np.ones(len(values)), support=SHARES)

    vote = mean_regret([majority_at_k(grid.answers, grid.verdicts, k) for k in numbers])
    return VoteRegret(budget, vote, mean_regret([pass_at_k(count, grid.right, k) for k in numbers]))


def _tokens_of_problem(arm: ReportArm) -> float:
    return max((sum(one.tokens for one in own_samples(record)) for record in arm.records), default=0)


def _make(arms: Arms) -> SectionBody:
    curves, no_texts = by_run(arms, text_curves)
    drawn, no_samples = by_run(arms, drawn_samples)
    longest = max((one[-1][0] for own, _ in curves.values() for of in own.values() for one in of if one), default=0)
    largest = max((_tokens_of_problem(arm) for arm in arms if arm.name in drawn), default=0.0)
    votes, no_votes = measure_each(drawn if largest else {}, partial(measure_votes, budget=largest))
    texts = {name: measure_texts(*one, longest) for name, one in curves.items() if longest}
    found: dict[str, RegretFindings] = {}
    lacking: dict[str, str] = {}
    for arm in arms:
        reasons = [of[arm.name] for of in (no_texts, no_samples, no_votes) if arm.name in of]
        because = "; ".join(dict.fromkeys(reasons))
        if arm.name in texts or arm.name in votes:
            found[arm.name] = RegretFindings(texts.get(arm.name), votes.get(arm.name), because)
        else:
            lacking[arm.name] = because or "its texts are empty"
    require(found, lacking)
    blocks = [*_of_texts(texts, arms[0].label), *_of_votes(votes), *omission_notes(lacking)]
    return SectionBody(blocks, found)


def _of_texts(texts: Mapping[str, TextRegret], label: str) -> Iterator[Block]:
    if not texts:
        return
    for name, one in texts.items():
        if one.settled is not None:
            yield Paragraph(
                f"{name}: right texts have their answer for good after {percent(one.settled)} of their tokens; "
                f"the other {percent(1 - one.settled)} do not change whether they are right."
            )
    lines = [
        figures.PlotLine(name, [at for at, _ in one.cuts], [right for _, right in one.cuts])
        for name, one in texts.items()
    ]
    yield Picture(
        figures.curves(f"regret {label}", lines, "tokens of a text", "right"),
        "The share of texts whose answer is right if they are cut after so many tokens and read as they are.",
    )
    yield from table(
        (
            {
                "run": name,
                "budget, tokens of a text": f"{one.budget:,}",
                "regret": with_bounds(one.regret),
                "by wrong texts": percent(one.wrong),
                "by waiting": percent(one.regret.estimate - one.wrong),
                "answers not judged": percent(one.unknown),
            }
            for name, one in texts.items()
        ),
        "Regret is the share lost against being right from the first token on, with the longest text of all runs "
        "as budget. The paper makes the model answer at each place; here the answer is what the task reads in the "
        "text up to the end of a step, so that texts that calculate first wait longer. In parentheses 95% "
        "intervals over problems.",
    )


def _of_votes(votes: Mapping[str, VoteRegret]) -> Iterator[Block]:
    return table(
        (
            {
                "run": name,
                "budget, tokens of a problem": whole(settled(one.budget)),
                "regret of the vote": with_bounds(one.vote),
                "of a perfect chooser": with_bounds(one.coverage),
            }
            for name, one in votes.items()
        ),
        "Accuracy over the tokens of all samples, joined by straight lines from none at 0 tokens, level after the "
        "last; the budget is the most that a problem of any run took.",
    )


SECTION = ReportSection(
    "Regret of test-time compute",
    120,
    _make,
    ("arXiv 2503.07572, from answers that are read in texts, not answers that the model is made to give",),
)
