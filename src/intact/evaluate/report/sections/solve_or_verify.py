"""Splits of a token budget between more solutions and more verdicts on each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from intact._base.errors import ParameterError
from intact.evaluate.report import figures
from intact.evaluate.report.blocks import Block, Picture, table
from intact.evaluate.report.formatting import percent, points, settled, with_bounds
from intact.evaluate.report.sections.base import (
    Arms,
    Drawn,
    OmittedError,
    answer_grid,
    check_mixed,
    is_mixed,
    of_samples,
    section_by_run,
)
from intact.stats.association import ratio_of_sums
from intact.stats.budget_split import VerifiedSplit, best_splits, best_verified_at, exponents
from intact.stats.checks import Floats
from intact.stats.choosing_at_k import majority_at_k
from intact.stats.intervals import DIFFERENCES, Interval

RESAMPLES = 200


class BudgetChoice(NamedTuple):
    """The best way to spend a budget.

    Attributes
    ----------
    budget : float
        The budget as a number of solutions.
    vote : float or None
        Accuracy of the vote over that number of solutions; None if fewer were drawn.
    split : VerifiedSplit or None
        The best split with verdicts; None if the budget does not suffice for one.
    difference : Interval or None
        Accuracy of the split that is best on the other problems, minus the accuracy of the vote.
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
        Solutions per problem, and verdicts per solution.
    ratio : float
        Tokens per verdict divided by tokens per solution.
    unreadable : float
        The share of verdicts that could not be read; each counts 1/2, as in the method.
    budgets : list of BudgetChoice
    solving, verifying : Interval or None
        Exponents with which the best numbers of solutions and of verdicts grow with the budget; None if there are too
        few budgets.
    """

    by: str
    solutions: int
    checks: int
    ratio: float
    unreadable: float
    budgets: list[BudgetChoice]
    solving: Interval | None
    verifying: Interval | None


def measure(samples: Drawn) -> SplitFindings:
    """Measure the accuracy of splits of budgets, from verdicts that are recorded one by one."""
    every = [one for own in samples.values() for one in own]
    givers = list(dict.fromkeys(verdict.by for one in every for verdict in one.verdicts))
    for by in givers:
        values = {name: [[v for v in one.verdicts if v.by == by] for one in own] for name, own in samples.items()}
        given = [one for own in values.values() for one in own]
        sizes = {len(one) for one in given}
        if len(sizes) != 1 or not min(sizes):
            continue
        check_mixed(sum(map(is_mixed, samples.values())))
        written, solved = sum(v.tokens for one in given for v in one), sum(one.tokens for one in every)
        (checks,) = sizes
        if not written or not solved:
            raise OmittedError("the tokens of its verdicts are not recorded")
        if checks > 1 and any(v.value not in (0, 0.5, 1, None) for one in given for v in one):
            raise OmittedError(f"the verdicts of {by} are neither yes nor no")
        scores = {
            name: [[0.5 if v.value is None else v.value for v in one] for one in own] for name, own in values.items()
        }
        unreadable = sum(v.value is None for one in given for v in one) / (len(given) * checks)
        return _measured(by, samples, scores, written / checks / solved, unreadable=unreadable)
    raise OmittedError("it does not record verdicts on each of its texts")


def _measured(
    by: str,
    samples: Drawn,
    scores: Mapping[str, Sequence[Sequence[float]]],
    ratio: float,
    unreadable: float,
) -> SplitFindings:
    count = min(map(len, samples.values()))
    checks = len(next(iter(scores.values()))[0])
    grid = answer_grid(samples, count)
    verified = np.array(
        [
            np.array([best_verified_at(scores[name][:count], right, v) for v in range(1, checks + 1)]).T
            for name, right in zip(samples, grid.verdicts, strict=True)
        ]
    )
    largest = count * (1 + ratio * checks)
    budgets = sorted({*(float(1 << i) for i in range(int(largest).bit_length())), largest})
    votes = {k: majority_at_k(grid.answers, grid.verdicts, int(k)) for k in budgets if k <= count}
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
    """For each budget, return the accuracy of the split that is best on all other problems, minus the vote's."""
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


def _show(found: Mapping[str, SplitFindings], arms: Arms) -> Iterator[Block]:
    lines = [line for name, one in found.items() for line in _lines(name, one.budgets)]
    yield Picture(
        figures.curves(f"split {arms[0].label}", lines, "budget in solutions' tokens", "right"),
        "The vote and the best split with verdicts by budget; the split is chosen on the problems it is shown on.",
    )
    yield from table(
        (
            {
                "run": name,
                "budget, in solutions": f"{settled(choice.budget):,.4g}",
                "vote": "" if choice.vote is None else percent(choice.vote),
                "best split": f"{choice.split.solutions} x {choice.split.checks}" if choice.split else "pays for none",
                "right by it": percent(choice.split.accuracy) if choice.split else "",
                "points over the vote": with_bounds(choice.split and choice.difference, points),
            }
            for name, one in found.items()
            for choice in one.budgets
        ),
        "A split S x V: of S solutions with V verdicts on each, the one with the largest mean verdict, over all "
        "subsets of what was drawn. Budgets count tokens that are written, not those that are read. Votes of more "
        "solutions than were drawn are not known. Points over the vote are those of the split that is best on the "
        "other problems, so that choosing it flatters nothing, with 95% intervals over problems.",
    )


def _lines(name: str, budgets: Sequence[BudgetChoice]) -> Iterator[figures.PlotLine]:
    """Yield a run's accuracy against the budget, for the vote and for the best split."""
    voted = {choice.budget: choice.vote for choice in budgets if choice.vote is not None}
    split = {choice.budget: choice.split.accuracy for choice in budgets if choice.split}
    yield figures.PlotLine(f"vote, {name}", list(voted), list(voted.values()))
    yield figures.PlotLine(f"verified, {name}", list(split), list(split.values()))


def _sentence(one: SplitFindings) -> str:
    known = {choice.budget: choice.difference for choice in one.budgets if choice.difference is not None}
    words = f"a verdict of {one.by} takes {settled(one.ratio):.2f} times the tokens of a solution"
    if one.unreadable:
        words += f", {percent(one.unreadable)} of them cannot be read"
    better = [budget for budget, difference in known.items() if difference.low > 0]
    worse = [budget for budget, difference in known.items() if difference.high < 0]
    if better:
        words += f". Verifying beats the vote from a budget of {better[0]:,.0f} solutions on"
    elif worse:
        words += f". The vote beats verifying at budgets up to {worse[-1]:,.0f} solutions"
    elif known:
        words += ". Up to as many solutions as were drawn, neither the vote nor verifying is shown to be better"
    if one.solving is not None and one.verifying is not None:
        words += (
            f". The best numbers grow as the budget to the power of {with_bounds(one.solving, _two)} for solutions and "
            f"{with_bounds(one.verifying, _two)} for verdicts (the paper, of larger models: 0.57 and 0.39)"
        )
    return f"{words}."


def _two(value: float) -> str:
    return f"{settled(value):z.2f}"


SECTION = section_by_run(
    "Solve or verify",
    180,
    of_samples(measure),
    _show,
    sources=("arXiv 2504.01005, over all subsets of solutions and verdicts in place of a sample of them",),
    sentence=_sentence,
)
