"""The share of right answers over the confidence that methods state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from intact.evaluate.report import figures
from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import Block, Paragraph, Picture, Table
from intact.evaluate.report.formatting import bounds, percent, settled
from intact.evaluate.report.sections.base import (
    Omission,
    ReportSection,
    SectionBody,
    by_run,
    join_reasons,
    measured,
    omission_notes,
)
from intact.stats.calibration import Bin, calibration_error, reliability, selective, selective_accuracy
from intact.stats.intervals import SHARES, Interval, clustered


class CalibrationFindings(NamedTuple):
    """The fit of confidences to the truth: see `intact.stats.calibration` for each measure.

    Attributes
    ----------
    brier : Interval
        The mean over answers, with a t interval over problems.
    """

    calibration_error: float
    brier: Interval
    aurc: float
    right_of_surer_half: float
    bins: list[Bin]


def measure(arm: ReportArm) -> CalibrationFindings | Omission:
    """Measure the confidences of a run."""
    own = [(record.confidence, bool(record.correct)) for record in arm.records if record.confidence is not None]
    if len(own) < len(arm.records) or not all(0 <= confidence <= 1 for confidence, _ in own):
        return Omission("its method does not state the confidence of all answers")
    stated, right = [float(confidence) for confidence, _ in own], [correct for _, correct in own]
    misses = [confidence - correct for confidence, correct in zip(stated, right, strict=True)]
    brier = clustered([miss * miss for miss in misses], [record.id for record in arm.records], support=SHARES)
    return CalibrationFindings(
        calibration_error(stated, right),
        Interval(brier.estimate, brier.low, brier.high),
        selective(stated, right).aurc,
        selective_accuracy(stated, right, 0.5),
        bins=reliability(stated, right),
    )


def _make(arms: Sequence[ReportArm]) -> SectionBody | Omission:
    found, lacking = by_run(arms, lambda arm: measured(arm, measure))
    if not found:
        return join_reasons(lacking)
    bins = {name: [(part.confidence, part.right, part.texts) for part in one.bins] for name, one in found.items()}
    caption = (
        "How often answers are right, over the confidence that the method states; larger marks hold more problems."
    )
    rows = [
        [
            name, f"{settled(one.calibration_error):.3f}",
            f"{settled(one.brier.estimate):.3f} ({bounds(one.brier.low, one.brier.high, '{:.3f}'.format)})",
            f"{settled(one.aurc):.3f}", percent(one.right_of_surer_half),
        ]
        for name, one in found.items()
    ]  # fmt: skip
    blocks: list[Block] = [
        Picture(figures.reliability(f"calibration {arms[0].label}", bins), caption),
        Table(["run", "ECE", "Brier", "AURC", "right among the surer half"], rows),
        Paragraph(
            "ECE is the mean distance between confidence and share right, in ten bins; it is never negative, so that "
            "honest confidences have one too, a larger one where answers are few. AURC is the mean share of wrong "
            "answers when only the surest ones are given, over all numbers of these. In parentheses 95% intervals over "
            "problems."
        ),
    ]
    return SectionBody([*blocks, *omission_notes(lacking)], found)


SECTION = ReportSection(
    "Calibration", _make, ("ECE: arXiv 1706.04599", "Brier 1950", "AURC: arXiv 1705.08500, with ties shared")
)
