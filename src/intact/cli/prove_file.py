"""Proof assistants' files in ``intact prove``: errors, proofs step by step, new theorems derived from a proved one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from intact.cli.options import check_output
from intact.cli.output import emit, note, one_line, show, stage_bar

if TYPE_CHECKING:
    from intact.tools.prove.assistants.base import Assistant
    from intact.tools.prove.assistants.transcript import ProofTranscript

UNDECIDED = 1
"""Exit status if there is no verdict, two verdicts contradict each other, or nothing was found."""


class ProofView(NamedTuple):
    """Options for showing proofs: in the terminal, as a page, or of one theorem only."""

    goals: bool
    html: Path | None
    theorem: str


def check_file(file: str, name: str, seconds: float, json: bool, view: ProofView) -> None:
    """List the errors, holes and axioms of a proof assistant's file, and show its proofs."""
    from intact.tools.prove.assistants import find_assistant
    from intact.tools.prove.assistants.base import AssistantLimits
    from intact.tools.prove.assistants.failures import count_failures

    if view.html is not None:
        check_output("the page", view.html)
    assistant = find_assistant(name)
    text = _read(file)
    report = assistant.check(text, AssistantLimits(seconds))
    proofs = _proofs(assistant, text, seconds, view, title=Path(file).stem if file != "-" else "Proofs")
    status = "limit" if report.limit else "errors" if report.errors else "holes" if report.holes else "whole"
    if json:
        rows = [error._asdict() | {"failure": assistant.failure("error", error.message)} for error in report.errors]
        found: dict[str, Any] = {"file": file, "status": status, "assistant": name, "version": assistant.version()}
        found |= {"errors": rows, "holes": report.holes, "axioms": report.axioms, "limit": report.limit}
        found |= {"failures": count_failures(assistant.failures(report))}
        emit(found | ({"proofs": [one.as_dict() for one in proofs]} if view.goals else {}))
    else:
        for proof in proofs if view.goals else ():
            _show_proof(proof)
        for error in report.errors:
            label = assistant.failure("error", error.message)
            show(f"{file}:{error.line}:{error.column}: {label}: ", (one_line(error.message), "bold red"))
        for line in report.holes:
            show(f"{file}:{line}: ", ("a proof is left open", "bold yellow"))
        if report.axioms:
            note(f"it assumes {len(report.axioms):,}: {one_line(', '.join(report.axioms))}")
        words = {"whole": "no error, and no hole", "limit": report.limit}
        show((status, f"bold {'green' if status == 'whole' else 'yellow'}"), f"  {words.get(status, '')}")
    if status != "whole":
        raise typer.Exit(UNDECIDED)


def _proofs(assistant: Assistant, text: str, seconds: float, view: ProofView, title: str) -> list[ProofTranscript]:
    """Return the proofs to show, and write their page if requested."""
    from intact._base.errors import ParameterError
    from intact._base.files import write_whole
    from intact.tools.prove.assistants.base import AssistantLimits
    from intact.tools.prove.assistants.page import html

    if not (view.goals or view.html is not None):
        return []
    proofs, limit = assistant.transcripts(text, AssistantLimits(seconds), view.theorem)
    if limit:
        note(limit)
    elif view.theorem and not proofs:
        raise ParameterError(f"the file has no proof of a theorem named {view.theorem!r:.60}")
    if view.html is not None and not limit:
        write_whole(view.html, html(proofs, assistant, title))
    return proofs


def _show_proof(proof: ProofTranscript) -> None:
    """Print a proof: its statement, then each step with the goals after it."""
    show((proof.name, "bold"), f"  {one_line(proof.statement)}")
    _show_lines(*proof.goals)
    for step in proof.steps:
        label = f"  {step.failure}" if step.failure else ""
        show((f"{step.line:4}  ", "dim"), (one_line(step.text), "bold"), (label, "bold red"))
        if step.message:
            _show_lines(step.message)
        _show_lines(*(step.goals or ("nothing is left",)))
    good = proof.kind == "proved"
    words = "proved" if good else f"not proved: {proof.failure or proof.kind}"
    detail = f"  {one_line(proof.message)}" if proof.message else ""
    show((words, f"bold {'green' if good else 'yellow'}"), f"{detail}\n")


def _show_lines(*texts: str) -> None:
    """Print strings indented, line by line."""
    for text in texts:
        for line in text.splitlines():
            show((f"      {one_line(line)}", "dim"))


def _read(file: str) -> str:
    """Return the text of a file, or of standard input."""
    from intact._base.files import read_text
    from intact.tools.prove.assistants.database import LONGEST

    return sys.stdin.read(LONGEST + 1) if file == "-" else read_text(Path(file))


def mutate_theorem(file: str, seconds: float, theorem: str, mutate: str, out: Path | None, json: bool) -> None:
    """Print new theorems derived from a proved one, and write them to a file if requested."""
    from intact._base.files import write_whole
    from intact.tools.prove.assistants.base import AssistantLimits
    from intact.tools.prove.assistants.rocq import RocqAssistant
    from intact.tools.prove.mutations import mutate as find

    check_output("--out", out)
    lemmas = int(mutate) if mutate.isdecimal() else [one.strip() for one in mutate.split(",")]
    text = _read(file)
    with stage_bar("change") as report:
        result = find(
            RocqAssistant(), text, AssistantLimits(seconds), theorem, lemmas=lemmas,
            progress=lambda done, whole: report("change", done, whole),
        )  # fmt: skip
    if json:
        rows = [one._asdict() | {"text": one.text} for one in result.found]
        emit({"file": file, **result._asdict(), "found": rows})
    else:
        for one in result.found:
            show((one.name, "bold"), f" : {one.statement}")
            show((f"      {one.change}", "dim"))
        note(f"{result.tried:,} changes tried, {result.changed:,} new statements, {len(result.found):,} proved")
        if result.limit:
            note(result.limit)
    if out is not None and result.found:
        write_whole(out, result.text)
    if not result.found:
        raise typer.Exit(UNDECIDED)
