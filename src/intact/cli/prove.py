"""``intact prove``: ask provers if a conjecture follows from axioms."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from intact.cli.options import JsonOption
from intact.cli.output import emit, note, one_line, show
from intact.cli.prove_file import UNDECIDED, ProofView, check_file, mutate_theorem

if TYPE_CHECKING:
    from intact.tools.prove.formula import LogicProblem
    from intact.tools.prove.provers import Prover, ProverLimits
    from intact.tools.prove.verdict import ProverVerdict

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
New theorems of its last one: rewritten by two lemmas, or by the 50 that are nearest to it
  intact prove proof.v --with rocq --mutate Nat.add_comm,Nat.mul_1_l
  intact prove proof.v --with rocq --mutate 50 --out more.v

Exit code 0: decided, or the file is whole; 1: no prover decided, two contradict each other, or the file has an error or
a hole; 2: the file cannot be read, or the prover is not here.
"""


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
    mutate: Annotated[
        str,
        typer.Option(
            "--mutate",
            metavar="LEMMA,...|N",
            help="Of Rocq: new theorems of this one, or of the last, by lemmas or by the N that are nearest.",
            show_default=False,
        ),
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write them to a file, with their proofs.", show_default=False),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Say if a conjecture follows from axioms, in the words of SZS: Theorem, CounterSatisfiable and others.

    Other provers are processes without a network, in the sandbox. With a proof assistant the file is one of its own,
    and its errors and holes are listed.
    """
    from intact._base.errors import FormatError, NotInstalledError, ParameterError
    from intact._base.files import read_text
    from intact._base.suggest import unknown_name
    from intact.tools.prove.assistants import ASSISTANTS
    from intact.tools.prove.provers import PROVERS, ProverLimits, find_prover
    from intact.tools.prove.tptp import LONGEST, parse
    from intact.tools.prove.verdict import DECIDED, contradict

    if out is not None and not mutate:
        raise ParameterError("--out is the file of what --mutate LEMMA,...|N finds, which is missing")
    if mutate:
        if prover != "rocq" or goals or html is not None:
            raise ParameterError("--mutate takes --with rocq, and neither --goals nor --html")
        _check_no_steps(steps)
        mutate_theorem(file, seconds, theorem, mutate, out=out, json=json)
        return
    if prover not in (names := [*PROVERS, "all", *ASSISTANTS]):
        raise ParameterError(unknown_name(f"there is no prover {prover!r:.60}", prover, names))
    if prover in ASSISTANTS:
        _check_no_steps(steps)
        if theorem and not goals and html is None:
            raise ParameterError("--theorem chooses what --goals, --html or --mutate shows: name one of them")
        check_file(file, prover, seconds, json, view=ProofView(goals, html, theorem))
        return
    if goals or html is not None or theorem:
        raise ParameterError("--goals, --html and --theorem show proofs of an assistant: name one, such as --with rocq")
    limits = ProverLimits(steps, seconds)
    chosen = list(PROVERS.values()) if prover == "all" else [find_prover(prover)]
    absent = {one.name: reason for one in chosen if (reason := one.missing()) is not None}
    if prover != "all" and absent:
        raise NotInstalledError(absent[prover])
    text = sys.stdin.read(4 * LONGEST) if file == "-" else read_text(Path(file))
    try:
        problem = parse(text, "standard input" if file == "-" else file)
    except FormatError as error:
        for other in ASSISTANTS.values():
            if file.endswith(other.ending):
                raise FormatError(f"{error}; a file of {other.title} takes --with {other.name}") from error
        raise
    verdicts = [_verdict(one, problem, limits, prover == "all") for one in chosen if one.name not in absent]
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


def _check_no_steps(steps: int | None) -> None:
    """Raise if a limit on steps is given to a proof assistant, which has none."""
    from intact._base.errors import ParameterError

    if steps is not None:
        raise ParameterError("--steps is a limit of provers; a proof assistant takes --seconds")


def _verdict(prover: Prover, problem: LogicProblem, limits: ProverLimits, among: bool) -> ProverVerdict:
    """Return the verdict of a prover; among others, one that the problem is too large for gives up."""
    from intact._base.errors import CapacityError
    from intact.tools.prove.verdict import ProverVerdict

    try:
        return prover.prove(problem, limits)
    except CapacityError as error:
        if not among:
            raise
        return ProverVerdict(prover.name, "GaveUp", detail=str(error))
