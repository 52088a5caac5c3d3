"""``intact prove``: ask provers whether a conjecture follows from axioms."""

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
Check whether the conjecture of a TPTP file follows from its axioms
  intact prove socrates.p
Ask another prover, or all that are installed
  intact prove socrates.p --with e
  intact prove socrates.p --with all
As JSON, with the file from standard input
  intact prove - --with z3 --json < socrates.p
Check a proof assistant's file for errors and holes
  intact prove proof.v --with rocq
Show its proofs, each step with the goals after it, in the terminal or as a page
  intact prove proof.v --with rocq --goals
  intact prove proof.v --with rocq --html proof.html
Derive new theorems from its last one, by rewriting with two lemmas, or with the 50 nearest ones
  intact prove proof.v --with rocq --mutate Nat.add_comm,Nat.mul_1_l
  intact prove proof.v --with rocq --mutate 50 --out more.v

Exit code 0: decided, or the file is complete; 1: undecided, contradictory verdicts, or the file has an error or
a hole; 2: the file cannot be read, or the prover is not installed.
"""


def command(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="TPTP problem (fof, cnf), or a proof assistant's file; - is standard input."
        ),
    ],
    prover: Annotated[
        str,
        typer.Option(
            "--with",
            metavar="PROVER",
            help="intact (built in), e, z3, cvc5, spass, or all that are installed; rocq, metamath or lean.",
        ),
    ] = "intact",
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=1, help="Maximum number of steps, in the prover's own unit.", show_default=False),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", help="Timeout of each run of an external prover, in seconds.")
    ] = 10.0,
    goals: Annotated[
        bool, typer.Option("--goals", help="Show each step of a proof assistant's file with the goals after it.")
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write the same as an HTML page.", show_default=False),
    ] = None,
    theorem: Annotated[
        str, typer.Option("--theorem", metavar="NAME", help="Only this theorem.", show_default=False)
    ] = "",
    mutate: Annotated[
        str,
        typer.Option(
            "--mutate",
            metavar="LEMMA,...|N",
            help="Rocq only: derive new theorems from --theorem, or the last one, by these lemmas or the N nearest.",
            show_default=False,
        ),
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write them to a file, with their proofs.", show_default=False),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Report whether a conjecture follows from axioms, as an SZS status: Theorem, CounterSatisfiable and others.

    External provers run as sandboxed processes without network access. For a proof assistant, the file is in its own
    language, and its errors and holes are listed.
    """
    from intact._base.errors import FormatError, NotInstalledError, ParameterError
    from intact._base.files import read_text
    from intact._base.suggest import unknown_name
    from intact.tools.prove.assistants import ASSISTANTS
    from intact.tools.prove.provers import PROVERS, ProverLimits, find_prover
    from intact.tools.prove.tptp import LONGEST, parse
    from intact.tools.prove.verdict import DECIDED, contradict

    if out is not None and not mutate:
        raise ParameterError("--out writes the results of --mutate LEMMA,...|N: add it")
    if mutate:
        if prover != "rocq" or goals or html is not None:
            raise ParameterError("--mutate needs --with rocq, and cannot be combined with --goals or --html")
        _check_no_steps(steps)
        mutate_theorem(file, seconds, theorem, mutate, out=out, json=json)
        return
    if prover not in (names := [*PROVERS, "all", *ASSISTANTS]):
        raise ParameterError(unknown_name(f"no prover named {prover!r:.60}", prover, names))
    if prover in ASSISTANTS:
        _check_no_steps(steps)
        if theorem and not goals and html is None:
            raise ParameterError("--theorem chooses what --goals, --html or --mutate shows: add one of them")
        check_file(file, prover, seconds, json, view=ProofView(goals, html, theorem))
        return
    if goals or html is not None or theorem:
        raise ParameterError("--goals, --html and --theorem show proofs of an assistant: add one, such as --with rocq")
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
                raise FormatError(f"{error}; for a file of {other.title}, use --with {other.name}") from error
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
    """Raise if a limit on steps is given to a proof assistant, which has no such limit."""
    from intact._base.errors import ParameterError

    if steps is not None:
        raise ParameterError("--steps limits provers; use --seconds for a proof assistant")


def _verdict(prover: Prover, problem: LogicProblem, limits: ProverLimits, among: bool) -> ProverVerdict:
    """Return the verdict of a prover; when several are asked, one for which the problem is too large gives up."""
    from intact._base.errors import CapacityError
    from intact.tools.prove.verdict import ProverVerdict

    try:
        return prover.prove(problem, limits)
    except CapacityError as error:
        if not among:
            raise
        return ProverVerdict(prover.name, "GaveUp", detail=str(error))
