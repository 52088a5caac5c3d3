"""The share of right answers by the confidence that methods state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from intact.evaluate.report import figures
from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import Block, Picture, table
from intact.evaluate.report.formatting import percent, three, with_bounds
from intact.evaluate.report.sections.base import Arms, OmittedError, section_by_run
from intact.stats.calibration import Bin, calibration_error, reliability, selective, selective_accuracy
from intact.stats.intervals import SHARES, Interval, clustered


class CalibrationFindings(NamedTuple):
    """The agreement between confidences and verdicts: see `intact.stats.calibration` for each measure.

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


def measure(arm: ReportArm) -> CalibrationFindings:
    """Measure the calibration of a run's confidences."""
    own = [(record.confidence, bool(record.correct)) for record in arm.records if record.confidence is not None]
    if len(own) < len(arm.records) or not all(0 <= confidence <= 1 for confidence, _ in own):
        raise OmittedError("its method does not state a confidence for all answers")
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


def _show(found: Mapping[str, CalibrationFindings], arms: Arms) -> Iterator[Block]:
    bins = {name: [(part.confidence, part.right, part.texts) for part in one.bins] for name, one in found.items()}
    yield Picture(
        figures.reliability(f"calibration {arms[0].label}", bins),
        "How often answers are right, over the confidence that the method states; larger marks hold more problems.",
    )
    yield from table(
        (
            {
                "run": name,
                "ECE": three(one.calibration_error),
                "Brier": with_bounds(one.brier, three),
                "AURC": three(one.aurc),
                "right among the surer half": percent(one.right_of_surer_half),
            }
            for name, one in found.items()
        ),
        "ECE is the mean distance between confidence and share right, in ten bins; it is never negative, so that "
        "honest confidences have one too, a larger one where answers are few. AURC is the mean share of wrong "
        "answers when only the surest ones are given, over all numbers of these. In parentheses 95% intervals over "
        "problems.",
    )


SECTION = section_by_run(
    "Calibration",
    80,
    measure,
    _show,
    sources=("ECE: arXiv 1706.04599", "Brier 1950", "AURC: arXiv 1705.08500, with ties shared"),
)
