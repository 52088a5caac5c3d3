"""``intact prove``: ask provers if a conjecture follows from axioms."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from intact.cli.options import JsonOption, check_output
from intact.cli.output import emit, note, one_line, show

if TYPE_CHECKING:
    from intact.prove.assistants.base import Assistant
    from intact.prove.assistants.transcript import ProofTranscript

EXAMPLES = """\
Does the conjecture of a TPTP file follow from its axioms?
  intact prove socrates.p
Ask another prover, or all that are installed
  intact prove socrates.p --with e
  intact prove socrates.p --with all
For programs; the file may be standard input
  intact prove - --with z3 --json < socrates.p
Is a file of a proof assistant without an error or a hole?
  intact prove proof.v --with rocq
Its proofs, each step with the goals behind it, in the terminal and as a page
  intact prove proof.v --with rocq --goals
  intact prove proof.v --with rocq --html proof.html

Exit code 0: decided, or the file is whole; 1: no prover decided, two contradict each other, or the file has an error or
a hole; 2: the file cannot be read, or the prover is not here.
"""

UNDECIDED = 1
"""Exit status if there is no verdict, or two that cannot both be right."""


def command(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="A problem in TPTP (fof, cnf), or a proof assistant's file; - is standard input."
        ),
    ],
    prover: Annotated[
        str,
        typer.Option(
            "--with",
            metavar="PROVER",
            help="intact (our own), e, z3, cvc5, spass, or all that are here; rocq, metamath or lean.",
        ),
    ] = "intact",
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=1, help="The most steps, in the prover's own unit.", show_default=False),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", help="The most seconds of a prover that is a process, each time it runs.")
    ] = 10.0,
    goals: Annotated[
        bool, typer.Option("--goals", help="Of a proof assistant's file: each step with the goals behind it.")
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write the same as a page.", show_default=False),
    ] = None,
    theorem: Annotated[
        str, typer.Option("--theorem", metavar="NAME", help="Of this theorem alone.", show_default=False)
    ] = "",
    json: JsonOption = False,
) -> None:
    """Say if a conjecture follows from axioms, in the words of SZS: Theorem, CounterSatisfiable and others.

    Other provers are processes without a network, in the sandbox. With a proof assistant the file is one of its own,
    and its errors and holes are listed.
    """
    from intact.errors import NotInstalledError, ParameterError
    from intact.files import read_text
    from intact.prove.assistants import ASSISTANTS
    from intact.prove.provers import PROVERS, ProverLimits, find_prover
    from intact.prove.tptp import LONGEST, parse
    from intact.prove.verdict import DECIDED, contradict

    if prover in ASSISTANTS:
        _check_file(file, prover, seconds, json, ProofView(goals, html, theorem))
        return
    if goals or html is not None or theorem:
        raise ParameterError("--goals, --html and --theorem show proofs of an assistant: name one, such as --with rocq")
    limits = ProverLimits(steps, seconds)
    chosen = list(PROVERS.values()) if prover == "all" else [find_prover(prover)]
    absent = {one.name: reason for one in chosen if (reason := one.missing()) is not None}
    if prover != "all" and absent:
        raise NotInstalledError(absent[prover])
    text = sys.stdin.read(4 * LONGEST) if file == "-" else read_text(Path(file))
    problem = parse(text, "standard input" if file == "-" else file)
    verdicts = [one.prove(problem, limits) for one in chosen if one.name not in absent]
    decided = [one for one in verdicts if one.status in DECIDED]
    conflict = any(contradict(one, other) for one in decided for other in decided)
    best = (decided or verdicts)[0]
    if json:
        rows: list[dict[str, Any]] = [vars(one) | {"meaning": one.meaning} for one in verdicts]
        emit({"file": file, "status": best.status, "conflict": conflict, "verdicts": rows, "missing": absent})
    else:
        for one in verdicts:
            style = "green" if one.status in DECIDED else "yellow"
            detail = f"  ({one_line(one.detail)})" if one.detail else ""
            show(
                f"{one.prover:8}" if len(verdicts) > 1 else "",
                (one.status, f"bold {style}"),
                f"  {one.meaning}{detail}",
            )
        for reason in absent.values():
            note(reason)
        if conflict:
            show(("The provers contradict each other: one of them is wrong.", "bold red"))
    if conflict or not decided:
        raise typer.Exit(UNDECIDED)


class ProofView(NamedTuple):
    """The options of showing proofs: in the terminal, as a page, of one theorem alone."""

    goals: bool
    html: Path | None
    theorem: str


def _check_file(file: str, name: str, seconds: float, json: bool, view: ProofView) -> None:
    """List the errors, holes and axioms of a proof assistant's file, and show its proofs."""
    from intact.files import read_text
    from intact.prove.assistants import find_assistant
    from intact.prove.assistants.base import AssistantLimits
    from intact.prove.assistants.database import LONGEST
    from intact.prove.assistants.failures import count_failures

    if view.html is not None:
        check_output("the page", view.html)
    assistant = find_assistant(name)
    text = sys.stdin.read(LONGEST + 1) if file == "-" else read_text(Path(file))
    report = assistant.check(text, AssistantLimits(seconds))
    proofs = _proofs(assistant, text, seconds, view, Path(file).stem if file != "-" else "Proofs")
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
    """Return the proofs that are to be shown, and write their page where one is wanted."""
    from intact.errors import ParameterError
    from intact.files import write_whole
    from intact.prove.assistants.base import AssistantLimits
    from intact.prove.assistants.page import html

    if not (view.goals or view.html is not None):
        return []
    proofs, limit = assistant.transcripts(text, AssistantLimits(seconds), view.theorem)
    if limit:
        note(limit)
    elif view.theorem and not proofs:
        raise ParameterError(f"the file has no proof of a theorem {view.theorem!r:.60}")
    if view.html is not None and not limit:
        write_whole(view.html, html(proofs, assistant, title))
    return proofs


def _show_proof(proof: ProofTranscript) -> None:
    """Print a proof: what it states, then each step and the goals behind it."""
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
    """Print texts indented, line by line."""
    for text in texts:
        for line in text.splitlines():
            show((f"      {one_line(line)}", "dim"))
