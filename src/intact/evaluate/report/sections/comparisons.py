"""Differences of runs on the same problems, corrected for their number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from intact.errors import ParameterError
from intact.evaluate.report.arms import ReportArm, pairs_of
from intact.evaluate.report.blocks import Block, Paragraph, Table
from intact.evaluate.report.formatting import bounds, points, settled
from intact.evaluate.report.sections.base import ReportSection, body_or_reason
from intact.stats.multiple import holm
from intact.stats.paired import mcnemar, paired_bootstrap


def _comparisons(arms: Sequence[ReportArm]) -> Iterator[Block]:
    """Yield differences on the same problems; p-values are corrected for their number."""
    found, refused, flagged = [], [], []
    for one, other, forbidden, differing in pairs_of(arms):
        if forbidden:
            refused.append(
                Paragraph(f"{one.name} and {other.name} on {one.label} are not compared: {forbidden}.", True)
            )
            continue
        if differing:
            what = " and ".join(differing)
            flagged.append(Paragraph(f"{one.name} and {other.name} on {one.label} differ in their {what} too.", True))
        found.append((one, other, *_difference(one, other)))
    ps = [p for *_, p in found if p is not None]
    corrected = iter(holm(ps).p.tolist() if ps else [])
    rows = []
    for one, other, difference, low, high, p in found:
        between = bounds(low, high, points)
        corrected_p = "" if p is None else f"{settled(next(corrected)):.3g}"
        rows.append([f"{one.name} − {other.name}", one.label, points(difference), between, corrected_p])
    if rows:
        yield Table(["difference", "task", "points", "95% interval", "p (Holm)"], rows)
        yield Paragraph(
            "Paired, problem by problem: McNemar's exact test and Bonett and Price's interval where each problem was "
            "asked once, else the paired bootstrap over problems."
        )
    yield from flagged
    yield from refused


def _difference(one: ReportArm, other: ReportArm) -> tuple[float, float | None, float | None, float | None]:
    names = list(one.rates)
    a, b = np.array([one.rates[name] for name in names]), np.array([other.rates[name] for name in names])
    if np.isin(a, (0, 1)).all() and np.isin(b, (0, 1)).all():
        found = mcnemar(a, b)
        return found.difference, found.low, found.high, found.exact
    try:
        between = paired_bootstrap(a, b)
    except ParameterError:  # all differences are equal
        return float((a - b).mean()), None, None, None
    return between.estimate, between.low, between.high, None


SECTION = ReportSection(
    "Comparisons", lambda arms: body_or_reason(_comparisons(arms), "no two runs are of one task"), all_tasks=True
)
