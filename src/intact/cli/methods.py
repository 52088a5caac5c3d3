"""``intact methods``: what ``intact solve`` can do."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from intact.cli.options import JsonOption
from intact.cli.output import emit, out

EXAMPLES = """\
All methods
  intact methods
One with its parameters
  intact methods self_consistency
For programs
  intact methods --json
"""


def command(
    names: Annotated[list[str] | None, typer.Argument(help="Which; by default all.", show_default=False)] = None,
    json: JsonOption = False,
) -> None:
    """List reasoning methods: where each comes from, what it does, what it takes."""
    from intact.reason.registry import all_methods, find

    chosen = [find(name) for name in names] if names else list(all_methods().values())
    if json:
        emit([describe(method) for method in chosen])
    else:
        _print(chosen, detailed=bool(names))


def describe(method: Any) -> dict[str, Any]:
    """A method as JSON has it."""
    return {
        "name": method.name,
        "line": method.line,
        "paper": method.paper,
        "sampling": dict(method.sampling),
        "parameters": [parameter.as_dict() for parameter in method.parameters],
    }


def _print(chosen: list[Any], detailed: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    console = out()
    for method in chosen:
        console.print(Text.assemble((method.name, "bold"), "  ", (method.paper, "dim")), soft_wrap=True)
        console.print(Text("  " + method.line))
        if not detailed:
            continue
        table = Table(box=None, show_header=False, padding=(0, 2))
        for parameter in method.parameters:
            default = str(parameter.default).replace("\n", "\\n")  # as --set takes it
            table.add_row(Text(f"--set {parameter.name}={default}"), Text(parameter.help))
        for name, value in method.sampling.items():
            table.add_row(f"--{name.replace('_', '-')} {value}", Text("unless you say otherwise", "dim"))
        console.print(table)
