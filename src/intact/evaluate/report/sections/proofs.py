"""Failed proofs by label: the proof assistant's message for each failed attempt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import Block, table
from intact.evaluate.report.formatting import percent
from intact.evaluate.report.sections.base import Arms, OmittedError, section_by_run
from intact.reason.parts.proving import Tried
from intact.tools.prove.assistants import find_assistant
from intact.tools.prove.assistants.failures import FAILURES, count_failures


class ProofFailures(NamedTuple):
    """The proof attempts of a run.

    Attributes
    ----------
    tries : int
        Calls of the tool `proof`.
    open : int
        Attempts with every step accepted and goals left; they are not failures, since a search continues from them.
    proved : int
        Attempts that were complete proofs.
    failed : mapping of str to int
        Failed attempts by label.
    problems : mapping of str to int
        Problems with a failed attempt, by label.
    """

    tries: int
    open: int
    proved: int
    failed: Mapping[str, int]
    problems: Mapping[str, int]


def _uses(nodes: Sequence[Mapping[str, Any]]) -> Iterator[Tried]:
    """Yield the results of the tool `proof` in a tree, including nested method calls."""
    for node in nodes:
        if node["kind"] == "call":
            yield from _uses(node["nodes"])
        elif node["kind"] == "tool" and node["tool"] == "proof":
            yield Tried.of(node["text"], find_assistant(node["values"]["assistant"]))


def measure(arm: ReportArm) -> ProofFailures:
    """Count the attempts of a run by label.

    Raises
    ------
    FormatError
        If a tree is damaged.
    """
    kinds, failed, problems = Counter[str](), Counter[str](), dict[str, set[str]]()
    with arm.trees() as trees:
        for record, trace in trees:
            labels = list[str]()
            for one in _uses(trace["nodes"]):
                kinds[one.kind] += 1
                labels += [] if one.kind == "open" or one.failure is None else [one.failure]
            if record.why == "spent" and kinds:
                labels.append("budget")
            failed.update(labels)
            for label in labels:
                problems.setdefault(label, set()).add(record.id)
    if not kinds:
        raise OmittedError("no proof was tried with the tool proof")
    order = count_failures(failed.elements())
    own = {label: len(problems[label]) for label in order}
    return ProofFailures(kinds.total(), kinds["open"], kinds["proved"], order, problems=own)


def _show(found: Mapping[str, ProofFailures], _: Arms) -> Iterator[Block]:
    labels = [label for label in FAILURES if any(label in one.failed for one in found.values())]
    meanings = " ".join([f"{label[0].upper()}{label[1:]}: {FAILURES[label]}." for label in labels])
    return table(
        (
            {"run": name, "tries": f"{one.tries:,}", "whole proofs": f"{one.proved:,}", "open": f"{one.open:,}"}
            | {f"{label} (problems)": _cell(one, label) for label in labels}
            for name, one in found.items()
        ),
        "Each failed try has one label, read from the assistant's message: its number, its share of those that "
        f"failed, and the number of problems with one. {meanings}",
    )


def _cell(one: ProofFailures, label: str) -> str:
    if label not in one.failed:
        return "0"
    count = one.failed[label]
    return f"{count:,}, {percent(count / sum(one.failed.values()))} ({one.problems[label]:,})"


SECTION = section_by_run("Failed proofs", 190, measure, _show)
