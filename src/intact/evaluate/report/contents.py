"""The contents of a report: its sections in order, and the reasons for omitted sections."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from intact._base.errors import NotInstalledError
from intact._base.packages import install
from intact._base.plugins import pieces
from intact.evaluate.report.arms import ReportArm, arms_of
from intact.evaluate.report.blocks import Paragraph, Picture, ReportDocument, Section, Table, table
from intact.evaluate.report.machine import DEFAULT, MachineChoice
from intact.evaluate.report.sections.base import OmittedError, ReportSection
from intact.evaluate.results import EvaluationRun


def _title(value: object) -> str | None:
    return value.title if isinstance(value, ReportSection) else None


SECTIONS: tuple[ReportSection, ...] = tuple(
    sorted(pieces("intact.evaluate.report.sections", _title).values(), key=lambda section: section.place)
)
"""All sections in the order of the report; each is the `SECTION` of a file of `sections/`."""
PICTURES = "Pictures"
"""The "Not shown" entry for pictures that cannot be drawn."""


def report(runs: Mapping[Path, EvaluationRun], title: str = "", machines: MachineChoice = DEFAULT) -> ReportDocument:
    """Build the report on runs.

    Parameters
    ----------
    runs : mapping of Path to EvaluationRun
        Runs by their result files (`intact.evaluate.files.read`).
    machines : MachineChoice
        The machines for which idealised runtimes are computed.

    Raises
    ------
    ParameterError
        If there is no run.
    """
    arms = arms_of(runs, machines)
    labels = list(dict.fromkeys(arm.label for arm in arms))
    found: list[Section] = []
    lacking: dict[str, str] = {}
    for heading, section, own in _in_order(arms, labels):
        try:
            made = section.make(own)
        except (OmittedError, NotInstalledError) as reason:
            lacking[heading] = str(reason)
            continue
        blocks = [block for block in made.blocks if not isinstance(block, Picture) or block.svg]
        if len(blocks) < len(made.blocks):
            lacking[PICTURES] = f"they need matplotlib: {install('matplotlib')}"
        if section.sources:
            blocks.append(Paragraph(f"Formulas: {'; '.join(section.sources)}."))
        found.append(Section(heading, blocks, section.sources, made.numbers))
    if lacking:
        rows = ({"section": heading, "because": because} for heading, because in lacking.items())
        found.insert(len(found) - 1, Section("Not shown", list(table(rows))))
    return ReportDocument(title or "Evaluation: " + ", ".join(labels), found, lacking)


def as_list(document: ReportDocument) -> list[dict[str, Any]]:
    """Return a report for JSON: an object for each section, then one for each omitted section, with the reason."""
    present = [
        {
            "title": section.title,
            "shown": True,
            "sources": list(section.sources),
            "numbers": _plain(section.numbers),
            "tables": [_plain(block) for block in section.blocks if isinstance(block, Table)],
            "paragraphs": [block.text for block in section.blocks if isinstance(block, Paragraph)],
        }
        for section in document.sections
    ]
    lacking = document.omitted.items()
    return [*present, *({"title": title, "shown": False, "because": because} for title, because in lacking)]


def _in_order(
    arms: Sequence[ReportArm], labels: Sequence[str]
) -> Iterator[tuple[str, ReportSection, Sequence[ReportArm]]]:
    """Yield each section with its heading and its runs; the sections of one task are adjacent."""
    for all_tasks, sections in groupby(SECTIONS, lambda section: section.all_tasks):
        if all_tasks:
            yield from ((section.title, section, arms) for section in sections)
            continue
        of_task = list(sections)
        for label in labels:
            own = [arm for arm in arms if arm.label == label]
            for section in of_task:
                yield f"{section.title}: {label}" if len(labels) > 1 else section.title, section, own


def _plain(value: Any) -> Any:
    """Convert numbers for JSON: named tuples to objects, arrays to lists, nan to null."""
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
