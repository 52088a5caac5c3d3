"""Failed proofs by their labels: what a proof assistant said of each try that failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from intact._base.errors import FormatError
from intact.evaluate.files import traces_of
from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import Block, Paragraph, Table
from intact.evaluate.report.formatting import percent
from intact.evaluate.report.sections.base import (
    Omission,
    ReportSection,
    SectionBody,
    by_run,
    join_reasons,
    omission_notes,
)
from intact.reason.parts.proving import Tried
from intact.tools.prove.assistants import find_assistant
from intact.tools.prove.assistants.failures import FAILURES, count_failures


class ProofFailures(NamedTuple):
    """The tries of a run's proofs.

    Attributes
    ----------
    tries : int
        Uses of the tool `proof`.
    open : int
        Those of which every step was accepted, with goals left: no failure, as a search goes on from there.
    proved : int
        Those that were whole proofs.
    failed : mapping of str to int
        The number of failed tries of each label that occurs.
    problems : mapping of str to int
        The number of problems with such a try.
    """

    tries: int
    open: int
    proved: int
    failed: Mapping[str, int]
    problems: Mapping[str, int]


def _uses(nodes: Sequence[Mapping[str, Any]]) -> Iterator[Tried]:
    """Yield the outcomes of a tree's uses of the tool `proof`, those of methods that it calls too."""
    for node in nodes:
        if node["kind"] == "call":
            yield from _uses(node["nodes"])
        elif node["kind"] == "tool" and node["tool"] == "proof":
            yield Tried.of(node["text"], find_assistant(node["values"]["assistant"]))


def measure(arm: ReportArm) -> ProofFailures | Omission:
    """Count the tries of a run by their labels.

    Raises
    ------
    FormatError
        If a tree is damaged.
    """
    kinds, failed, problems = Counter[str](), Counter[str](), dict[str, set[str]]()
    try:
        for record, trace in arm.trees():
            labels = list[str]()
            for one in _uses(trace["nodes"]):
                kinds[one.kind] += 1
                labels += [] if one.kind == "open" or one.failure is None else [one.failure]
            if record.why == "spent" and kinds:
                labels.append("budget")
            failed.update(labels)
            for label in labels:
                problems.setdefault(label, set()).add(record.id)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise FormatError(f"{traces_of(arm.path)} is damaged: {error!r:.200}") from error
    if not kinds:
        return Omission("no proof was tried by the tool proof")
    order = count_failures(failed.elements())
    own = {label: len(problems[label]) for label in order}
    return ProofFailures(kinds.total(), kinds["open"], kinds["proved"], order, problems=own)


def _make(arms: Sequence[ReportArm]) -> SectionBody | Omission:
    found, lacking = by_run(arms, measure)
    if not found:
        return join_reasons(lacking)
    labels = [label for label in FAILURES if any(label in one.failed for one in found.values())]
    head = ["run", "tries", "whole proofs", "open", *[f"{label} (problems)" for label in labels]]
    rows = [
        [name, f"{one.tries:,}", f"{one.proved:,}", f"{one.open:,}", *[_cell(one, label) for label in labels]]
        for name, one in found.items()
    ]
    meanings = " ".join([f"{label[0].upper()}{label[1:]}: {FAILURES[label]}." for label in labels])
    blocks: list[Block] = [
        Table(head, rows),
        Paragraph(
            "Each failed try has one label, read from the assistant's message: its number, its share of those that "
            f"failed, and the number of problems with one. {meanings}"
        ),
    ]
    return SectionBody([*blocks, *omission_notes(lacking)], found)


def _cell(one: ProofFailures, label: str) -> str:
    if label not in one.failed:
        return "0"
    count = one.failed[label]
    return f"{count:,}, {percent(count / sum(one.failed.values()))} ({one.problems[label]:,})"


SECTION = ReportSection("Failed proofs", _make)
