"""Wrong answers with their texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import Block, Paragraph, TextTrees
from intact.evaluate.report.failures import failures
from intact.evaluate.report.sections.base import ReportSection, body_or_reason


def _failures(arms: Sequence[ReportArm]) -> Iterator[Block]:
    for arm in arms:
        found = failures(arm)
        wrong = sum(not record.correct for record in arm.records)
        if found:
            yield Paragraph(f"{arm.name}: {wrong} of {len(arm.records)} wrong.")
            yield TextTrees(found, wrong - len(found))
        elif wrong and not arm.run.traces:
            yield Paragraph(f"{arm.name}: {wrong} wrong; their texts are not beside the result file.")


SECTION = ReportSection("Failures", lambda arms: body_or_reason(_failures(arms), "no answer is wrong"))
