"""``intact deduce``: derive all consequences of axioms up to a depth, and prove goals with them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from intact.cli.options import JsonOption, check_output
from intact.cli.output import emit, note, show

EXAMPLES = """\
Everything that follows from facts and rules in three rounds
  intact deduce family.p --depth 3
The laws of addition and multiplication by induction, as a page of proofs
  intact deduce examples/peano.p --depth 4 --induction zero,s --html peano.html
As JSON
  intact deduce family.p --json

Exit code 0: every goal is proved; 1: one is open, or the axioms contradict each other; 2: a formula is not a rule.
"""

OPEN = 1
"""Exit status if a goal remains open, or the axioms contradict each other."""


def command(
    file: Annotated[str, typer.Argument(metavar="AXIOMS", help="TPTP file of rules and goals; - is standard input.")],
    depth: Annotated[int, typer.Option("--depth", min=1, help="Number of rounds of deduction.")] = 3,
    height: Annotated[int, typer.Option("--height", min=1, help="Maximum nesting depth of terms.")] = 8,
    induction: Annotated[
        str | None,
        typer.Option(
            "--induction", metavar="ZERO,SUCCESSOR", help="Symbols for induction on goals.", show_default=False
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write the proofs as an HTML page.", show_default=False),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Derive all consequences of rules up to a depth, and prove goals from them.

    Axioms must be rules, ((premise & premise) => head). Conjectures are goals; each may use those proved before it.
    """
    from intact._base.errors import ParameterError
    from intact._base.files import read_text, write_whole
    from intact.tools.prove.deduction.page import html as render
    from intact.tools.prove.deduction.theory import Induction, deduce
    from intact.tools.prove.tptp import LONGEST, parse_entries

    symbols = None
    if induction is not None:
        names = induction.split(",")
        if len(names) != 2 or not all(names):
            raise ParameterError(f"--induction must be two names, such as zero,s, got {induction!r:.60}")
        symbols = Induction(*names)
    if html is not None:
        check_output("the page", html)
    where = "standard input" if file == "-" else file
    text = sys.stdin.read(4 * LONGEST) if file == "-" else read_text(Path(file))
    deduction = deduce(parse_entries(text, where), depth, symbols, height)
    if html is not None:
        write_whole(html, render(deduction, Path(file).stem if file != "-" else "Deduction"))
    if json:
        emit(deduction.as_dict())
    else:
        for one in deduction.block.facts:
            if one.depth:
                show((f"{one.depth:3}  ", "dim"), str(one.fact), (f"  by {one.rule}", "dim"))
        for goal in deduction.goals:
            show((f"{goal.by or 'open':10}", "green" if goal.by else "bold red"), goal.name)
        if deduction.block.contradiction is not None:
            show(("The axioms contradict each other, so everything would follow from them.", "bold red"))
        elif not deduction.block.complete:
            note(f"more consequences may follow beyond depth {depth}")
    if deduction.block.contradiction is not None or not all(goal.by for goal in deduction.goals):
        raise typer.Exit(OPEN)
