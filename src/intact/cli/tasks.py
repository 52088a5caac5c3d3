"""``intact tasks``: list the tasks that ``intact eval`` knows."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from intact.cli.options import JsonOption
from intact.cli.output import emit, out

EXAMPLES = """\
All tasks
  intact tasks
One with its parameters, what it measures, and its first problem
  intact tasks gsm_ranges:level=3
One of your own
  intact tasks mine.toml
"""


def command(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="NAME, NAME:KEY=VALUE,... or FILE.toml; by default all.", show_default=False),
    ] = None,
    json: JsonOption = False,
) -> None:
    """List problems with known answers: what they are, where they come from, whether their data are here."""
    from intact.tasks.choose import choose
    from intact.tasks.task import all_tasks

    found = [describe(choose(name)) for name in names or all_tasks()]
    if json:
        emit(found)
    else:
        _print(found, detailed=bool(names))


def describe(chosen: Any) -> dict[str, Any]:
    """Describe a task for `--json`."""
    from intact.errors import IntactError

    task = chosen.task
    about = {
        "name": task.name,
        "line": task.line,
        "source": task.source,
        "licence": task.licence,
        "splits": list(task.files),
        "parameters": chosen.parameters,
        "shots": len(task.shots),
        "measures": dict(task.measures),
        "judged": task.graded,
    }
    try:
        items = chosen.load()
    except IntactError as error:
        return about | {"problems": None, "missing": str(error), "first": None}
    return about | {"problems": len(items), "missing": None, "first": items[0].question}


def _print(found: list[dict[str, Any]], detailed: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    console = out()
    if not detailed:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for column in ("task", "problems", "what", "licence"):
            table.add_column(column, justify="right" if column == "problems" else "left", no_wrap=column == "task")
        for task in found:
            here = Text(f"{task['problems']:,}") if task["problems"] else Text("not here", "dim")
            table.add_row(Text(task["name"], "bold"), here, Text(task["line"]), Text(task["licence"], "dim"))
        console.print(table)
        return
    for task in found:
        console.print(Text.assemble((task["name"], "bold"), "  ", task["line"]), soft_wrap=True)
        console.print(Text(f"  {task['source']}, {task['licence']}; splits {', '.join(task['splits'])}", "dim"))
        for name, value in task["parameters"].items():
            console.print(Text(f"  {name}={value}"))
        for name, line in task["measures"].items():
            console.print(Text.assemble((f"  {name}", "bold"), f"  {line}"), soft_wrap=True)
        if task["missing"]:
            console.print(Text(f"  {task['missing']}", "yellow"), soft_wrap=True)
        else:
            console.print(Text(f"  {task['problems']:,} problems; the first:"))
            console.print(Text(task["first"], "italic"), soft_wrap=True)
