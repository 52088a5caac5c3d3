"""The contents of a report: its sections in their order, and what is said of those that cannot be shown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from intact._base.errors import NotInstalledError
from intact._base.packages import install
from intact.evaluate.report.arms import ReportArm, arms_of
from intact.evaluate.report.blocks import Block, Paragraph, Picture, ReportDocument, Section, Table
from intact.evaluate.report.machine import DEFAULT, MachineChoice
from intact.evaluate.report.sections import (
    calibration,
    checkers,
    commands,
    comparisons,
    costs,
    derivations,
    estimation,
    failures,
    judges,
    length,
    markers,
    prediction,
    problems,
    proofs,
    regret,
    robustness,
    runtime,
    saturation,
    scaling,
    scores,
    solve_or_verify,
    summary,
)
from intact.evaluate.report.sections.base import Omission, ReportSection, SectionBody
from intact.evaluate.results import EvaluationRun

SECTIONS = (
    summary.SECTION,
    scores.SECTION,
    comparisons.SECTION,
    scaling.SECTION,
    costs.SECTION,
    runtime.SECTION,
    prediction.SECTION,
    calibration.SECTION,
    problems.SECTION,
    saturation.SECTION,
    estimation.SECTION,
    regret.SECTION,
    length.SECTION,
    markers.SECTION,
    derivations.SECTION,
    checkers.SECTION,
    judges.SECTION,
    solve_or_verify.SECTION,
    proofs.SECTION,
    failures.SECTION,
    robustness.SECTION,
    commands.SECTION,
)
"""All sections, in the order of the report. A new one is a file of `sections/` with a `SECTION`, and a line here."""
PICTURES = "Pictures"
"""The title under which pictures that cannot be drawn are said to be left out."""


def report(runs: Mapping[Path, EvaluationRun], title: str = "", machines: MachineChoice = DEFAULT) -> ReportDocument:
    """Build the report of runs.

    Parameters
    ----------
    runs : mapping of Path to Run
        As `intact.evaluate.files.read` gives them.
    machines : MachineChoice
        The machines by which runs are timed.

    Raises
    ------
    ParameterError
        If there is none.
    """
    arms = arms_of(runs, machines)
    labels = list(dict.fromkeys(arm.label for arm in arms))
    found: list[Section] = []
    lacking: dict[str, str] = {}
    for title_of, section, own in _in_order(arms, labels):
        made = _made(section, own)
        if isinstance(made, Omission):
            lacking[title_of] = made.because
        else:
            blocks = [block for block in made.blocks if not isinstance(block, Picture) or block.svg]
            if len(blocks) < len(made.blocks):
                lacking[PICTURES] = f"they need matplotlib: {install('matplotlib')}"
            blocks += _sources(section)
            found.append(Section(title_of, blocks, section.sources, made.numbers))
    if lacking:
        rows = [[title_of, because] for title_of, because in lacking.items()]
        found.insert(len(found) - 1, Section("Not shown", [Table(["section", "because"], rows)]))
    return ReportDocument(title or "Evaluation: " + ", ".join(labels), found, lacking)


def _made(section: ReportSection, arms: Sequence[ReportArm]) -> SectionBody | Omission:
    """Return the contents of a section, or the reason to leave it out: a package that it needs is missing, too."""
    try:
        return section.make(arms)
    except NotInstalledError as error:
        return Omission(str(error))


def as_list(document: ReportDocument) -> list[dict[str, Any]]:
    """Return a report as JSON has it: an object for each section, those that are not shown last, with the reason."""
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
    """Yield each section with its title and its runs; sections of one task stand together."""
    for all_tasks, sections in groupby(SECTIONS, lambda section: section.all_tasks):
        if all_tasks:
            yield from ((section.title, section, arms) for section in sections)
            continue
        of_task = list(sections)
        for label in labels:
            own = [arm for arm in arms if arm.label == label]
            for section in of_task:
                yield f"{section.title}: {label}" if len(labels) > 1 else section.title, section, own


def _sources(section: ReportSection) -> Iterator[Block]:
    if section.sources:
        yield Paragraph(f"Formulas: {'; '.join(section.sources)}.")


def _plain(value: Any) -> Any:
    """Return numbers as JSON has them: named tuples as objects, arrays as lists, nan as null."""
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
