"""``intact check``: what must hold for a reasoning method, checked on a toy model."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated, Any

import typer

from intact.cli.options import JsonOption, SetOption
from intact.cli.output import emit, show

EXAMPLES = """\
A method of your own
  intact check my_method.py:shortest
One of this package, with other parameters
  intact check best_of_n --set n=8
For programs
  intact check my_method.py:shortest --json
"""


def command(
    name: Annotated[str, typer.Argument(help="FILE.py:NAME for your own method, or a name of `intact methods`.")],
    settings: SetOption = None,
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds", min=0.1, help="Seconds that each property may take: a method that never ends is stopped then."
        ),
    ] = 120.0,
    json: JsonOption = False,
) -> None:
    """Check that a method ends, keeps caps, reads every turn, resumes, replays, and ignores what runs beside it.

    Of a method that declares the composition that it is, this and its declared laws are checked too.

    It runs on a toy model of a few letters, in seconds, without an engine and in a process of its own. The status is 1
    if a property does not hold.
    """
    from intact.cli.check_process import run_checks

    results = run_checks(name, settings or [], seconds)
    with closing(results):
        subject, rows = next(results), list[dict[str, Any]]()
        for result in results:
            rows.append(result)
            if not json:
                mark = ("holds ", "green") if result["holds"] else ("FAILS ", "red")
                show(mark, (result["check"], "bold"))
                show("      ", result["meaning" if result["holds"] else "why"])
    holds = all(result["holds"] for result in rows)
    if json:
        emit({"method": subject["method"], "parameters": subject["parameters"], "checks": rows, "holds": holds})
    if not holds:
        raise typer.Exit(1)
