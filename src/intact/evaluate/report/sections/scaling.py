"""Coverage and majority by number of samples, and extrapolations of coverage from fitted laws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from intact._base.errors import IntactError
from intact.evaluate.report import figures
from intact.evaluate.report.arms import EXTRAPOLATED
from intact.evaluate.report.blocks import Paragraph, Picture, table
from intact.evaluate.report.formatting import or_nan, settled, with_bounds
from intact.evaluate.report.sections.base import Arms, OmittedError, ReportSection, SectionBody
from intact.evaluate.results import TaskScore
from intact.stats.intervals import Interval
from intact.stats.laws.extrapolation import Extrapolation


def _make(arms: Arms) -> SectionBody:
    lines: list[figures.PlotLine] = []
    rows: list[dict[str, str]] = []
    notes: list[Paragraph] = []
    numbers: dict[str, dict[str, Any]] = {}
    for arm in arms:
        for kind in ("pass@", "majority@"):
            own = arm.curve(kind)
            if len(own) < 2:
                continue
            lines.append(_line(f"{kind}k, {arm.name}", own))
            numbers.setdefault(arm.name, {})[f"{kind}k"] = own
            if kind == "pass@":
                try:
                    law = arm.law
                except IntactError as error:
                    notes.append(Paragraph(f"No law is fitted to {arm.name}: {error}."))
                    continue
                near = law.k <= 8 * max(lines[-1].x)
                fit = (law.k[near], law.coverage[near], law.low[near], law.high[near])
                lines[-1] = lines[-1]._replace(fit=fit)
                rows.append(_row(arm.name, law))
                notes += [Paragraph(f"{arm.name}: {caution}.", True) for caution in law.cautions]
                numbers[arm.name]["law"] = {"exponent": law.exponent, **_foretold(law)}
    if not lines:
        raise OmittedError("no run has several independent samples of each problem")
    caption = "Coverage (pass@k) and majority@k over the number of samples, unbiased, with 95% intervals over problems"
    fitted = "; thin lines and bands are fitted laws" if rows else ""
    svg = figures.curves(f"scaling {arms[0].label}", lines, "samples a problem (k)", "right")
    foretold = table(rows, "Foretold, with 95% intervals by resampling problems, the law chosen anew each time.")
    return SectionBody([Picture(svg, f"{caption}{fitted}."), *foretold, *notes], numbers)


def _line(name: str, scores: Sequence[TaskScore]) -> figures.PlotLine:
    """Return the curve of the pass@k or majority@k scores."""
    k = [int(score.metric.partition("@")[2]) for score in scores]
    low, high = ([or_nan(getattr(score, bound)) for score in scores] for bound in ("low", "high"))
    return figures.PlotLine(name, k, [score.value for score in scores], low, high=high)


def _foretold(law: Extrapolation) -> dict[str, Interval]:
    """Return the extrapolated coverage by number of samples."""
    places = {int(at): i for i, at in enumerate(law.k)}
    return {
        f"pass@{at}": Interval(*(float(of[places[at]]) for of in (law.coverage, law.low, law.high)))
        for at in EXTRAPOLATED
    }


def _row(name: str, law: Extrapolation) -> dict[str, str]:
    estimate, low, high = map(settled, law.exponent)
    return {
        "run": name,
        "law": getattr(law.law, "family", "exp(a k^b)"),
        "exponent": f"{estimate:.2f} ({low:.2f} to {high:.2f})",
    } | {f"pass@{at:,}": with_bounds(one) for at, one in zip(EXTRAPOLATED, _foretold(law).values(), strict=True)}


SECTION = ReportSection(
    "Scaling",
    40,
    _make,
    ("pass@k: arXiv 2107.03374", "laws: arXiv 2407.21787 and 2502.17578"),
)
