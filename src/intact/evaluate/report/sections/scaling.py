"""Coverage and majority over the number of samples, and what laws foretell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from intact._base.errors import IntactError
from intact.evaluate.report import figures
from intact.evaluate.report.arms import EXTRAPOLATED, ReportArm
from intact.evaluate.report.blocks import Block, Paragraph, Picture, Table
from intact.evaluate.report.formatting import or_nan, settled, with_bounds
from intact.evaluate.report.sections.base import Omission, ReportSection, SectionBody
from intact.stats.checks import Floats
from intact.stats.intervals import Interval


def _make(arms: Sequence[ReportArm]) -> SectionBody | Omission:
    """Return pass@k and majority@k over k, and extrapolations of the former."""
    lines: list[figures.PlotLine] = []
    rows: list[list[str]] = []
    notes: list[Paragraph] = []
    numbers: dict[str, dict[str, Any]] = {}
    for arm in arms:
        for kind in ("pass@", "majority@"):
            own = arm.curve(kind)
            if len(own) < 2:
                continue
            k = [int(score.metric.partition("@")[2]) for score in own]
            low, high = ([or_nan(getattr(score, bound)) for score in own] for bound in ("low", "high"))
            line = figures.PlotLine(f"{kind}k, {arm.name}", k, [score.value for score in own], low, high=high)
            numbers.setdefault(arm.name, {})[f"{kind}k"] = own
            if kind == "pass@":
                try:
                    line = line._replace(fit=_law(arm, max(k), rows, notes))
                    numbers[arm.name]["law"] = {"exponent": arm.law.exponent, **_foretold(arm)}
                except IntactError as error:
                    notes.append(Paragraph(f"No law is fitted to {arm.name}: {error}."))
            lines.append(line)
    if not lines:
        return Omission("no run has several independent samples of each problem")
    name = f"scaling {arms[0].label}"
    caption = "Coverage (pass@k) and majority@k over the number of samples, unbiased, with 95% intervals over problems"
    fitted = "; thin lines and bands are fitted laws" if rows else ""
    blocks: list[Block] = [
        Picture(figures.curves(name, lines, "samples a problem (k)", "right"), f"{caption}{fitted}.")
    ]
    if rows:
        blocks.append(Table(["run", "law", "exponent", *[f"pass@{k:,}" for k in EXTRAPOLATED]], rows))
        blocks.append(Paragraph("Foretold, with 95% intervals by resampling problems, the law chosen anew each time."))
    return SectionBody([*blocks, *notes], numbers)


def _foretold(arm: ReportArm) -> dict[str, Interval]:
    """Return the coverage that the law foretells, by the number of samples."""
    found = arm.law
    of = {int(at): i for i, at in enumerate(found.k)}
    places = [of[at] for at in EXTRAPOLATED]
    values = zip(found.coverage[places].tolist(), found.low[places].tolist(), found.high[places].tolist(), strict=True)
    return {f"pass@{at}": Interval(*one) for at, one in zip(EXTRAPOLATED, values, strict=True)}


def _law(
    arm: ReportArm, most: int, rows: list[list[str]], notes: list[Paragraph]
) -> tuple[Floats, Floats, Floats, Floats]:
    found = arm.law
    law = getattr(found.law, "family", "exp(a k^b)")
    predicted = [with_bounds(*one) for one in _foretold(arm).values()]
    estimate, low, high = map(settled, found.exponent)
    exponent = f"{estimate:.2f} ({low:.2f} to {high:.2f})"
    rows.append([arm.name, law, exponent, *predicted])
    notes += [Paragraph(f"{arm.name}: {caution}.", True) for caution in found.cautions]
    near = found.k <= 8 * most
    return found.k[near], found.coverage[near], found.low[near], found.high[near]


SECTION = ReportSection(
    "Scaling",
    _make,
    ("pass@k: arXiv 2107.03374", "laws: arXiv 2407.21787 and 2502.17578"),
)
