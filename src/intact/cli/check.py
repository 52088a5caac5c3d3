"""``intact check``: what must hold for a reasoning method, checked on a toy model."""

from __future__ import annotations

from typing import Annotated

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
    json: JsonOption = False,
) -> None:
    """Check that a method ends, keeps caps, resumes, replays, and does not depend on what runs beside it.

    Of a method that declares the composition that it is, this and its declared laws are checked too.

    It runs on a toy model of a few letters, in seconds and without an engine. The status is 1 if a property does not
    hold.
    """
    from intact.cli.solve import parse_settings
    from intact.reason.registry import find
    from intact.reason.testing.checks import ToyTrial, check_method

    method = find(name)
    trial = ToyTrial.of(method, name, parse_settings(method, settings))
    failed = 0
    rows = []
    for result in check_method(trial):
        failed += not result.holds
        rows.append(result._asdict())
        if not json:
            show(("holds " if result.holds else "FAILS ", "green" if result.holds else "red"), (result.check, "bold"))
            show("      ", result.meaning if result.holds else result.why)
    if json:
        emit({"method": method.name, "parameters": dict(trial.parameters), "checks": rows, "holds": not failed})
    if failed:
        raise typer.Exit(1)
