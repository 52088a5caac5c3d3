"""Wrong answers with their completions."""

from __future__ import annotations

from intact.evaluate.report.blocks import Block, Paragraph, TextTrees
from intact.evaluate.report.failures import failures
from intact.evaluate.report.sections.base import Arms, OmittedError, ReportSection, SectionBody


def _make(arms: Arms) -> SectionBody:
    blocks: list[Block] = []
    numbers: dict[str, list[str]] = {}
    for arm in arms:
        found = failures(arm)
        numbers[arm.name] = [record.id for record in arm.records if not record.correct]
        wrong = len(numbers[arm.name])
        if found:
            blocks += [
                Paragraph(f"{arm.name}: {wrong} of {len(arm.records)} wrong."),
                TextTrees(found, wrong - len(found)),
            ]
        elif wrong and not arm.run.traces:
            blocks.append(Paragraph(f"{arm.name}: {wrong} wrong; their texts are not beside the result file."))
    if not blocks:
        raise OmittedError("no answer is wrong")
    return SectionBody(blocks, numbers)


SECTION = ReportSection("Failures", 200, _make)
