"""The share of right answers over the confidence that methods state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from intact.evaluate.report import figures
from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import Block, Picture, Table
from intact.evaluate.report.formatting import percent, settled
from intact.evaluate.report.sections.base import ReportSection, body_or_reason
from intact.stats.calibration import brier, calibration_error, reliability, selective, selective_accuracy


def _calibration(arms: Sequence[ReportArm]) -> Iterator[Block]:
    bins, rows = {}, []
    for arm in arms:
        own = [(record.confidence, bool(record.correct)) for record in arm.records if record.confidence is not None]
        if len(own) < len(arm.records) or not all(0 <= confidence <= 1 for confidence, _ in own):
            continue
        stated, right = [float(confidence) for confidence, _ in own], [correct for _, correct in own]
        bins[arm.name] = [(one.confidence, one.right, one.texts) for one in reliability(stated, right)]
        figures_of = [calibration_error(stated, right), brier(stated, right), selective(stated, right).aurc]
        half = percent(selective_accuracy(stated, right, 0.5))
        rows.append([arm.name, *[f"{settled(value):.3f}" for value in figures_of], half])
    if not rows:
        return
    caption = (
        "How often answers are right, over the confidence that the method states; larger marks hold more problems."
    )
    yield Picture(figures.reliability(f"calibration {arms[0].label}", bins), caption)
    yield Table(["run", "ECE", "Brier", "AURC", "right among the surer half"], rows)


SECTION = ReportSection(
    "Calibration",
    lambda arms: body_or_reason(_calibration(arms), "no method states the confidence of all its answers"),
)
