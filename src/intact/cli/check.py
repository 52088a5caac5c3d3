"""``intact check``: check the required properties of a reasoning method on a toy model."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated, Any

import typer

from intact.cli.options import JsonOption, SetOption
from intact.cli.output import emit, show

EXAMPLES = """\
A method of your own
  intact check my_method.py:shortest
A built-in method, with other parameters
  intact check best_of_n --set n=8
As JSON
  intact check my_method.py:shortest --json
"""


def command(
    name: Annotated[str, typer.Argument(help="FILE.py:NAME for your own method, or a name from `intact methods`.")],
    settings: SetOption = None,
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds",
            min=0.1,
            help="Time limit per property in seconds; a method that never ends is stopped then.",
        ),
    ] = 120.0,
    json: JsonOption = False,
) -> None:
    """Check that a method terminates, respects caps, reads every turn, resumes, replays, and ignores concurrent work.

    If a method declares that it is a composition, that claim and its declared laws are checked too.

    The checks take seconds: they use a toy model of a few letters, no engine, and a separate process. The exit status
    is 1 if a property does not hold.
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
