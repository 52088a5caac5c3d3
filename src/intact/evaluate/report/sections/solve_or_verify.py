"""Splits of a budget of tokens between more solutions and verifications of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from intact._base.errors import ParameterError
from intact.evaluate.report import figures
from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import Block, Paragraph, Picture, Table
from intact.evaluate.report.formatting import bounds, percent, points, settled, with_bounds
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
from intact.stats.association import ratio_of_sums
from intact.stats.budget_split import VerifiedSplit, best_splits, best_verified_at, exponents
from intact.stats.checks import Floats
from intact.stats.choosing_at_k import majority_at_k
from intact.stats.intervals import DIFFERENCES, Interval

RESAMPLES = 200


class BudgetChoice(NamedTuple):
    """The best that a budget buys.

    Attributes
    ----------
    budget : float
        In solutions' tokens.
    vote : float or None
        Accuracy of the vote of as many solutions; None if fewer were drawn.
    split : VerifiedSplit or None
        The best split with verdicts; None if the budget pays for none.
    difference : Interval or None
        Accuracy of the split that is best on the other problems, less that of the vote.
    """

    budget: float
    vote: float | None
    split: VerifiedSplit | None
    difference: Interval | None


class SplitFindings(NamedTuple):
    """Splits of budgets in one run.

    Attributes
    ----------
    by : str
        The method or scorer that gave the verdicts.
    solutions, checks : int
        Solutions of each problem, verdicts on each.
    ratio : float
        Tokens of a verdict over those of a solution.
    unreadable : float
        The share of verdicts that could not be read; each counts 1/2, as in the method.
    budgets : list of BudgetChoice
    solving, verifying : Interval or None
        The exponents of the budget in the best numbers of solutions and of verdicts; None if there are too few budgets.
    """

    by: str
    solutions: int
    checks: int
    ratio: float
    unreadable: float
    budgets: list[BudgetChoice]
    solving: Interval | None
    verifying: Interval | None


def measure(samples: Mapping[str, Sequence[ItemSample]]) -> SplitFindings | Omission:
    """Measure what splits of budgets would have given, from verdicts that are recorded one by one."""
    every = [one for own in samples.values() for one in own]
    givers = list(dict.fromkeys(verdict.by for one in every for verdict in one.verdicts))
    mixed = sum(len({bool(one.correct) for one in own}) == 2 for own in samples.values())
    for by in givers:
        values = {name: [[v for v in one.verdicts if v.by == by] for one in own] for name, own in samples.items()}
        given = [one for own in values.values() for one in own]
        sizes = {len(one) for one in given}
        if len(sizes) != 1 or not min(sizes):
            continue
        if mixed < MIXED:
            return too_few_mixed(mixed)
        written, solved = sum(v.tokens for one in given for v in one), sum(one.tokens for one in every)
        (checks,) = sizes
        if not written or not solved:
            return Omission("the tokens of its verdicts are not recorded")
        if checks > 1 and any(v.value not in (0, 0.5, 1, None) for one in given for v in one):
            return Omission(f"the verdicts of {by} are neither yes nor no")
        scores = {
            name: [[0.5 if v.value is None else v.value for v in one] for one in own] for name, own in values.items()
        }
        unreadable = sum(v.value is None for one in given for v in one) / (len(given) * checks)
        return _measured(by, samples, scores, written / checks / solved, unreadable=unreadable)
    return Omission("verdicts on each of its texts are not recorded")


def _measured(
    by: str,
    samples: Mapping[str, Sequence[ItemSample]],
    scores: Mapping[str, Sequence[Sequence[float]]],
    ratio: float,
    unreadable: float,
) -> SplitFindings:
    count = min(map(len, samples.values()))
    checks = len(next(iter(scores.values()))[0])
    right = {name: [bool(one.correct) for one in own[:count]] for name, own in samples.items()}
    answers = [[one.answer for one in own[:count]] for own in samples.values()]
    verified = np.array(
        [
            np.array([best_verified_at(scores[name][:count], good, v) for v in range(1, checks + 1)]).T
            for name, good in right.items()
        ]
    )
    largest = count * (1 + ratio * checks)
    budgets = sorted({*(float(1 << i) for i in range(int(largest).bit_length())), largest})
    votes = {k: majority_at_k(answers, list(right.values()), int(k)) for k in budgets if k <= count}
    splits = {one.budget: one for one in best_splits(verified.mean(axis=0), ratio, budgets)}
    apart = _differences(votes, verified, ratio)
    choices = [
        BudgetChoice(k, float(votes[k].mean()) if k in votes else None, splits.get(k), apart.get(k)) for k in budgets
    ]
    solving, verifying = _exponents(verified, ratio, budgets)
    return SplitFindings(
        by, count, checks, ratio, unreadable=unreadable, budgets=choices, solving=solving, verifying=verifying
    )


def _differences(votes: Mapping[float, Floats], verified: Floats, ratio: float) -> dict[float, Interval]:
    """Return by budget the accuracy of the split that is best on all other problems, less that of the vote."""
    problems = len(verified)
    apart: dict[float, list[float]] = {}
    for place in range(problems):
        others = np.arange(problems) != place
        for one in best_splits(verified[others].mean(axis=0), ratio, list(votes)):
            voted = float(votes[one.budget][place])
            gained = float(verified[place, one.solutions - 1, one.checks - 1]) - voted
            apart.setdefault(one.budget, []).append(gained)
    return {budget: ratio_of_sums(own, np.ones(problems), support=DIFFERENCES) for budget, own in apart.items()}


def _exponents(verified: Floats, ratio: float, budgets: Sequence[float]) -> tuple[Interval | None, Interval | None]:
    """Return the exponents with percentile intervals, resampling problems."""

    def of(problems: Floats) -> tuple[float, float]:
        return exponents(best_splits(problems.mean(axis=0), ratio, budgets))

    try:
        own = of(verified)
    except ParameterError:
        return None, None
    rng = np.random.default_rng(0)
    others = [of(verified[rng.integers(0, len(verified), len(verified))]) for _ in range(RESAMPLES)]
    low, high = np.quantile(others, (0.025, 0.975), axis=0, method="inverted_cdf")
    first, second = (Interval(*map(float, one)) for one in zip(own, low, high, strict=True))
    return first, second


def _make(arms: Sequence[ReportArm]) -> SectionBody | Omission:
    found, lacking = by_run(arms, lambda arm: measured(drawn_samples(arm), measure))
    if not found:
        return join_reasons(lacking)
    blocks: list[Block] = [Paragraph(f"{name}: {_sentence(one)}") for name, one in found.items()]
    lines = []
    for name, one in found.items():
        voted = {choice.budget: choice.vote for choice in one.budgets if choice.vote is not None}
        split = {choice.budget: choice.split.accuracy for choice in one.budgets if choice.split}
        lines.append(figures.PlotLine(f"vote, {name}", list(voted), list(voted.values())))
        lines.append(figures.PlotLine(f"verified, {name}", list(split), list(split.values())))
    caption = "The vote and the best split with verdicts by budget; the split is chosen on the problems it is shown on."
    blocks.append(
        Picture(figures.curves(f"split {arms[0].label}", lines, "budget in solutions' tokens", "right"), caption)
    )
    rows = [[name, *_row(choice)] for name, one in found.items() for choice in one.budgets]
    head = ["run", "budget, in solutions", "vote", "best split", "right by it", "points over the vote"]
    blocks.append(Table(head, rows))
    blocks.append(
        Paragraph(
            "A split S x V: of S solutions with V verdicts on each, the one with the largest mean verdict, over all "
            "subsets of what was drawn. Budgets count tokens that are written, not those that are read. Votes of more "
            "solutions than were drawn are not known. Points over the vote are those of the split that is best on the "
            "other problems, so that choosing it flatters nothing, with 95% intervals over problems."
        )
    )
    return SectionBody([*blocks, *omission_notes(lacking)], found)


def _row(choice: BudgetChoice) -> list[str]:
    cells = [f"{settled(choice.budget):,.4g}", "" if choice.vote is None else percent(choice.vote)]
    if choice.split is None:
        return [*cells, "pays for none", "", ""]
    cells += [f"{choice.split.solutions} x {choice.split.checks}", percent(choice.split.accuracy)]
    return [*cells, with_bounds(*choice.difference, form=points) if choice.difference else ""]


def _sentence(one: SplitFindings) -> str:
    known = [choice for choice in one.budgets if choice.difference is not None]
    words = f"a verdict of {one.by} takes {settled(one.ratio):.2f} times the tokens of a solution"
    if one.unreadable:
        words += f", {percent(one.unreadable)} of them cannot be read"
    if known:
        better = [choice for choice in known if choice.difference and choice.difference.low > 0]
        worse = [choice for choice in known if choice.difference and choice.difference.high < 0]
        if better:
            words += f". Verifying beats the vote from a budget of {better[0].budget:,.0f} solutions on"
        elif worse:
            words += f". The vote beats verifying at budgets up to {worse[-1].budget:,.0f} solutions"
        else:
            words += ". Up to as many solutions as were drawn, neither the vote nor verifying is shown to be better"
    if one.solving is not None and one.verifying is not None:
        words += (
            f". The best numbers grow as the budget to the power of {_exponent(one.solving)} for solutions and "
            f"{_exponent(one.verifying)} for verdicts (the paper, of larger models: 0.57 and 0.39)"
        )
    return f"{words}."


def _exponent(one: Interval) -> str:
    low, high = settled(one.low), settled(one.high)
    return f"{settled(one.estimate):z.2f} ({bounds(low, high, lambda value: f'{value:z.2f}')})"


SECTION = ReportSection(
    "Solve or verify",
    _make,
    ("arXiv 2504.01005, over all subsets of solutions and verdicts in place of a sample of them",),
)
