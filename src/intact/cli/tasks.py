"""``intact tasks``: list the tasks of ``intact eval``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from intact._base.errors import IntactError, ParameterError
from intact.cli.fetch import fetch_problems
from intact.cli.options import JsonOption
from intact.cli.output import emit, new_table, note, out, show, size

if TYPE_CHECKING:
    from intact.tasks.choose import Chosen
    from intact.tasks.task import Task

EXAMPLES = """\
All tasks
  intact tasks
One task with its parameters, what it measures, and its first problem
  intact tasks gsm_ranges:level=3
Fetch the full set of a task, verified by SHA-256 and kept in ~/.cache/intact/data
  intact tasks gsm8k --fetch
Your own task
  intact tasks mine.toml
"""


def command(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="NAME, NAME:KEY=VALUE,... or FILE.toml; by default all.", show_default=False),
    ] = None,
    fetch: Annotated[bool, typer.Option("--fetch", help="Fetch the full sets of these tasks first.")] = False,
    json: JsonOption = False,
) -> None:
    """List tasks with known answers: contents, sources, and availability of their data."""
    from intact.tasks.choose import available, choose
    from intact.tasks.task import all_tasks

    if fetch:
        _fetch([choose(name).task for name in names or []])
    found = [describe(choose(available(name))) for name in names or all_tasks()]
    if json:
        emit(found)
    else:
        _print(found, detailed=bool(names))


def _fetch(tasks: list[Task]) -> None:
    """Fetch the full sets of tasks, and report on stderr where they are."""
    from intact.tasks.data import find_file

    if not tasks:
        raise ParameterError("--fetch needs the names of tasks, such as intact tasks gsm8k --fetch")
    for task in tasks:
        for file in fetch_problems(task):
            origin = f"fetched {file.source}" if file.fresh else "already here"
            note(f"{file.name}: {origin}, {size(file.bytes)}, {task.licence}, SHA-256 {file.sha256}")
            first = find_file(file.name.removesuffix(".gz"))
            if first != file.path:
                note(f"{file.path} is not used while {first} is there")


def describe(chosen: Chosen) -> dict[str, Any]:
    """Describe a task for `--json`.

    Raises
    ------
    IntactError
        If the problems of a user's own task cannot be read; those of built-in tasks may be absent.
    """
    task = chosen.task
    about = {
        "name": task.name,
        "line": task.line,
        "source": task.source,
        "licence": task.licence,
        "splits": list(task.files),
        "parameters": chosen.parameters,
        "sample": chosen.sample,
        "shots": len(task.shots),
        "measures": dict(task.measures),
        "judged": task.graded,
    }
    try:
        items = chosen.load()
    except IntactError as error:
        if task.called:
            raise
        return about | {"problems": None, "left_out": {}, "missing": str(error), "first": None}
    left_out = dict(task.left_out)
    missing = None if chosen.sample is None else _missing(chosen._replace(sample=None))
    return about | {"problems": len(items), "left_out": left_out, "missing": missing, "first": items[0].question}


def _missing(chosen: Chosen) -> str | None:
    """Describe the problem with a task's file; None if there is none."""
    try:
        chosen.load(1)
    except IntactError as error:
        return str(error)
    return None


def _print(found: list[dict[str, Any]], detailed: bool) -> None:
    if not detailed:
        columns = "task", "problems", "what", "licence"
        table = new_table(*columns, right=["problems"], whole=["task"])
        for task in found:
            here = Text(f"{task['problems']:,}") if task["problems"] else Text("not here", "dim")
            if task["sample"]:
                here = Text(f"sample of {task['sample']}")
            table.add_row(Text(task["name"], "bold"), here, Text(task["line"]), Text(task["licence"], "dim"))
        out().print(table)
        return
    for task in found:
        show((task["name"], "bold"), "  ", task["line"])
        show(f"  {task['source']}, {task['licence']}; splits {', '.join(task['splits'])}", style="dim")
        for name, value in task["parameters"].items():
            show(f"  {name}={value}")
        for name, line in task["measures"].items():
            show((f"  {name}", "bold"), f"  {line}")
        if task["missing"]:
            show(f"  {task['missing']}", style="yellow")
        if task["problems"] is not None:
            for why, count in task["left_out"].items():
                show(f"  {count:,} problems are left out: {why}", style="dim")
            sample = f" (sample of {task['sample']})" if task["sample"] else ""
            show(f"  {task['problems']:,} problems{sample}; the first:")
            show(task["first"], style="italic")
