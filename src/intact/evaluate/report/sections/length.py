"""The share of right answers by completion length, controlling for problem difficulty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from intact.evaluate.report import figures
from intact.evaluate.report.blocks import Block, Picture, table
from intact.evaluate.report.formatting import points, settled, signed, whole, with_bounds
from intact.evaluate.report.sections.base import Arms, Drawn, check_mixed, is_mixed, of_samples, section_by_run
from intact.evaluate.results import ItemSample
from intact.stats.association import Slope, cliffs_delta, ratio_of_sums, slope
from intact.stats.checks import Floats
from intact.stats.intervals import SHARES, Interval
from intact.stats.paired import McNemar, mcnemar

UNIT = 100
"""Number of tokens to which slopes refer."""
FIFTHS = 5


class LengthFindings(NamedTuple):
    """The relation between length and correctness in one run.

    Attributes
    ----------
    texts, problems, mixed : int
        Complete samples; problems that have one; problems with both right and wrong complete samples.
    cut, cut_right : int
        Truncated completions, which are left out, and the right ones among them.
    pooled, within : Slope
        The change in the share of right answers per token, over all completions and within problems.
    delta : Interval
        Cliff's delta between the lengths of right and wrong completions, within problems.
    median_right, median_wrong : float
        Median lengths in tokens.
    votes : McNemar
        The vote weighted by 1 / length compared with the plain vote, over all problems.
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
    """A fifth of the completions by length: mean tokens, share right with interval, and share expected by difficulty.

    The expected share is the share right among the other completions of the same problem, averaged over completions.
    """

    tokens: float
    right: Interval
    expected: float


def measure(samples: Drawn) -> LengthFindings:
    """Measure the samples of a run, by problem; truncated ones count only in the votes."""
    uncut = {name: [one for one in own if not one.cut] for name, own in samples.items()}
    mixed = sum(map(is_mixed, uncut.values()))
    check_mixed(mixed, "whole texts")
    names = [name for name, own in uncut.items() for _ in own]
    kept = [one for own in uncut.values() for one in own]
    tokens = np.array([one.tokens for one in kept], np.float64)
    right = np.array([bool(one.correct) for one in kept], np.float64)
    lost = [one for own in samples.values() for one in own if one.cut]
    return LengthFindings(
        len(kept),
        sum(map(bool, uncut.values())),
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
    """Return the verdict on the answer with the most votes; ties go to the first seen.

    Completions without an answer do not vote.
    """
    votes: dict[str, float] = {}
    right: dict[str, bool] = {}
    for one in samples:
        if one.answer is not None:
            votes[one.answer] = votes.get(one.answer, 0) + (1 / max(one.tokens, 1) if by_length else 1)
            right.setdefault(one.answer, bool(one.correct))
    return bool(votes) and right[max(votes, key=lambda answer: votes[answer])]


def _bins(tokens: Floats, right: Floats, names: Sequence[str]) -> list[LengthBin]:
    """Return fifths of the completions, leaving out a problem's only completion, which has no expected share."""
    count, good = Counter(names), Counter(name for name, one in zip(names, right, strict=True) if one)
    several = np.array([count[name] > 1 for name in names])
    others = np.array(
        [(good[name] - one) / max(count[name] - 1, 1) for name, one in zip(names, right, strict=True)], np.float64
    )
    order = np.argsort(tokens, kind="stable")
    found = []
    for places in np.array_split(order[several[order]], FIFTHS):
        of_bin, rights = Counter(names[i] for i in places), Counter(names[i] for i in places if right[i])
        if len(of_bin) > 1:
            share = ratio_of_sums([rights[name] for name in of_bin], list(of_bin.values()), support=SHARES)
            found.append(LengthBin(float(tokens[places].mean()), share, float(others[places].mean())))
    return found


def _show(found: Mapping[str, LengthFindings], arms: Arms) -> Iterator[Block]:
    lines = [line for name, one in found.items() for line in _lines(name, one.bins)]
    yield Picture(
        figures.curves(f"length {arms[0].label}", lines, "tokens of a text", "right"),
        "Share of right answers in each fifth of the texts by length, with 95% intervals over problems, and the share "
        "that the other texts of the same problems have: where the two agree, long texts are of hard problems.",
    )
    yield from table(
        (
            {
                "run": name,
                "texts of problems": f"{one.texts:,} of {one.problems}, {one.mixed} mixed",
                "cut, left out": f"{one.cut:,} ({one.cut_right} right)",
                f"points per {UNIT} tokens, pooled": _per_unit(one.pooled),
                "the same within problems": _per_unit(one.within),
                "Cliff's delta": with_bounds(one.delta, signed),
                "median tokens, right / wrong": f"{whole(one.median_right)} / {whole(one.median_wrong)}",
                "points of the vote by 1/length": with_bounds(one.votes.interval, points),
            }
            for name, one in found.items()
        ),
        "In parentheses 95% intervals over problems. Mixed problems have both right and wrong whole texts: they "
        "alone tell what length means within a problem. Cliff's delta: of pairs of a right and a wrong text of one "
        "problem, the share where the right one is longer less the share where it is shorter. The vote by "
        "1/length is compared with the plain vote on the same texts (McNemar, Bonett and Price).",
    )


def _lines(name: str, bins: Sequence[LengthBin]) -> Iterator[figures.PlotLine]:
    """Yield a run's share of right answers by length, and the share expected by difficulty."""
    tokens, shares = [part.tokens for part in bins], [part.right for part in bins]
    middle, low, high = ([getattr(share, bound) for share in shares] for bound in Interval._fields)
    yield figures.PlotLine(f"share right, {name}", tokens, middle, low, high=high)
    yield figures.PlotLine(f"expected by difficulty, {name}", tokens, [part.expected for part in bins])


def _sentence(one: LengthFindings) -> str:
    low, high = one.within.low, one.within.high
    change = f"{_points_of(one.within)} points for each {UNIT} tokens more"
    if low <= 0 <= high:
        words = f"within a problem no effect of length on being right is shown ({change})"
    else:
        words = f"within a problem longer texts are right {'more' if low > 0 else 'less'} often ({change})"
    pooled = f"over all texts, of easy and hard problems together, it is {_points_of(one.pooled)}"
    return f"{words}; {pooled}."


def _points_of(one: Slope) -> str:
    return points(UNIT * one.estimate)


def _per_unit(one: Slope) -> str:
    return with_bounds(Interval(UNIT * one.estimate, settled(UNIT * one.low), settled(UNIT * one.high)), points)


SECTION = section_by_run(
    "Length",
    130,
    of_samples(measure),
    _show,
    sources=(
        "arXiv 2502.15631, by a linear regression with a constant for each problem, not a logistic one with levels",
        "arXiv 2504.14047 for lengths of right and wrong texts and the vote by length",
    ),
    sentence=_sentence,
)
