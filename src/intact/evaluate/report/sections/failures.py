"""Wrong answers with their texts."""

from __future__ import annotations

from collections.abc import Sequence

from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import Block, Paragraph, TextTrees
from intact.evaluate.report.failures import failures
from intact.evaluate.report.sections.base import Omission, ReportSection, SectionBody


def _make(arms: Sequence[ReportArm]) -> SectionBody | Omission:
    blocks: list[Block] = []
    numbers: dict[str, list[str]] = {}
    for arm in arms:
        found = failures(arm)
        numbers[arm.name] = [record.id for record in arm.records if not record.correct]
        wrong = len(numbers[arm.name])
        if found:
            blocks.append(Paragraph(f"{arm.name}: {wrong} of {len(arm.records)} wrong."))
            blocks.append(TextTrees(found, wrong - len(found)))
        elif wrong and not arm.run.traces:
            blocks.append(Paragraph(f"{arm.name}: {wrong} wrong; their texts are not beside the result file."))
    return SectionBody(blocks, numbers) if blocks else Omission("no answer is wrong")


SECTION = ReportSection("Failures", _make)
