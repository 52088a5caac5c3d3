"""Differences between runs on the same problems, corrected for multiple comparisons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from intact._base.errors import NotInstalledError, ParameterError
from intact.evaluate.report.arms import ReportArm, pairs_of
from intact.evaluate.report.blocks import Block, Paragraph, table
from intact.evaluate.report.formatting import bounds, points, settled
from intact.evaluate.report.sections.base import Arms, OmittedError, ReportSection, SectionBody
from intact.stats.multiple import holm
from intact.stats.paired import mcnemar, paired_bootstrap, permutation


class RunDifference(NamedTuple):
    """The first run's share of right answers minus the second's; p is corrected for the number of comparisons."""

    first: str
    second: str
    label: str
    difference: float
    low: float | None
    high: float | None
    p: float | None


def differences_of(arms: Arms) -> list[RunDifference]:
    """Return the differences between comparable runs; p-values are corrected for their number."""
    found = [
        RunDifference(one.name, other.name, one.label, *_difference(one, other))
        for one, other, forbidden, _ in pairs_of(arms)
        if not forbidden
    ]
    ps = [one.p for one in found if one.p is not None]
    corrected = iter(holm(ps).p.tolist() if ps else [])
    return [one if one.p is None else one._replace(p=next(corrected)) for one in found]


def in_words(one: RunDifference) -> str:
    """Return a difference as a sentence."""
    what = f"{one.first} − {one.second} on {one.label}: {points(one.difference)} points"
    if one.low is None or one.high is None:
        return f"{what}, on every problem alike."
    verdict = "they differ" if one.p is not None and one.p < 0.05 else "a difference is not shown"
    return f"{what} ({bounds(one.low, one.high, points)}): {verdict}."


def reservations_of(arms: Arms) -> list[Paragraph]:
    """Name the other differences between runs of one task, then the runs that cannot be compared."""
    refused, flagged = [], []
    for one, other, forbidden, differing in pairs_of(arms):
        both = f"{one.name} and {other.name} on {one.label}"
        if forbidden:
            refused.append(Paragraph(f"{both} are not compared: {forbidden}.", True))
        elif differing:
            flagged.append(Paragraph(f"{both} differ in their {' and '.join(differing)} too.", True))
    return flagged + refused


def _make(arms: Arms) -> SectionBody:
    differences = differences_of(arms)
    blocks = [*_table(differences), *reservations_of(arms)]
    if not blocks:
        raise OmittedError("no two runs are of the same task")
    return SectionBody(blocks, {f"{one.first} − {one.second}, {one.label}": one for one in differences})


def _table(differences: Sequence[RunDifference]) -> Iterator[Block]:
    return table(
        (
            {
                "difference": f"{one.first} − {one.second}",
                "task": one.label,
                "points": points(one.difference),
                "95% interval": bounds(one.low, one.high, points),
                "p (Holm)": "" if one.p is None else f"{settled(one.p):.3g}",
            }
            for one in differences
        ),
        "Paired, problem by problem: McNemar's exact test and Bonett and Price's interval where each problem was "
        "asked once, else a permutation test and the bootstrap over problems. p is corrected for the number of "
        "differences by Holm's method, intervals are not: each holds 95 times in 100 by itself.",
    )


def _difference(one: ReportArm, other: ReportArm) -> tuple[float, float | None, float | None, float | None]:
    names = list(one.rates)
    a, b = np.array([one.rates[name] for name in names]), np.array([other.rates[name] for name in names])
    if np.isin(a, (0, 1)).all() and np.isin(b, (0, 1)).all():
        found = mcnemar(a, b)
        return found.difference, found.low, found.high, found.exact
    try:
        between = paired_bootstrap(a, b)
    except NotInstalledError:
        raise
    except ParameterError:  # all differences are equal
        return float((a - b).mean()), None, None, None
    return between.estimate, between.low, between.high, permutation(a, b).p


SECTION = ReportSection(
    "Comparisons",
    30,
    _make,
    ("McNemar 1947", "Bonett and Price 2012", "BCa intervals: Efron 1987", "Holm 1979"),
    all_tasks=True,
)
