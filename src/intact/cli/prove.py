"""``intact prove``: ask provers if a conjecture follows from axioms."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from intact.cli.options import JsonOption
from intact.cli.output import emit, note, one_line, show

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
    json: JsonOption = False,
) -> None:
    """Say if a conjecture follows from axioms, in the words of SZS: Theorem, CounterSatisfiable and others.

    Other provers are processes without a network, in the sandbox. With a proof assistant the file is one of its own,
    and its errors and holes are listed.
    """
    from intact.errors import NotInstalledError
    from intact.files import read_text
    from intact.prove.assistants import ASSISTANTS
    from intact.prove.provers import PROVERS, ProverLimits, find_prover
    from intact.prove.tptp import LONGEST, parse
    from intact.prove.verdict import DECIDED, contradict

    if prover in ASSISTANTS:
        _check_file(file, prover, seconds, json)
        return
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


def _check_file(file: str, name: str, seconds: float, json: bool) -> None:
    """List the errors, holes and axioms of a proof assistant's file."""
    from intact.files import read_text
    from intact.prove.assistants import find_assistant
    from intact.prove.assistants.base import AssistantLimits
    from intact.prove.assistants.database import LONGEST
    from intact.prove.assistants.failures import count_failures

    assistant = find_assistant(name)
    text = sys.stdin.read(LONGEST + 1) if file == "-" else read_text(Path(file))
    report = assistant.check(text, AssistantLimits(seconds))
    status = "limit" if report.limit else "errors" if report.errors else "holes" if report.holes else "whole"
    if json:
        rows = [error._asdict() | {"failure": assistant.failure("error", error.message)} for error in report.errors]
        found: dict[str, Any] = {"file": file, "status": status, "assistant": name, "version": assistant.version()}
        found |= {"errors": rows, "holes": report.holes, "axioms": report.axioms, "limit": report.limit}
        emit(found | {"failures": count_failures(assistant.failures(report))})
    else:
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
