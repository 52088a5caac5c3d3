"""``intact methods``: list the methods and scorers of ``intact solve``."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer
from rich.text import Text

from intact._base.errors import ParameterError
from intact._base.plugins import Registry
from intact._base.suggest import unknown_name
from intact.cli.options import JsonOption
from intact.cli.output import emit, note, show, show_rows

EXAMPLES = """\
All methods
  intact methods
One method with its parameters
  intact methods self_consistency
Scorers, for methods that take one (--set scorer=NAME)
  intact methods --scorers
As JSON
  intact methods --json
"""


def command(
    names: Annotated[list[str] | None, typer.Argument(help="Names; by default all.", show_default=False)] = None,
    scorers: Annotated[bool, typer.Option("--scorers", help="List scorers instead of methods.")] = False,
    json: JsonOption = False,
) -> None:
    """List reasoning methods: source, summary and parameters."""
    from intact.reason.registry import METHODS, find
    from intact.tasks.score.scorers import SCORERS

    if scorers:
        _list_scorers(SCORERS, names, json)
        return
    chosen = [find(name) for name in names] if names else list(METHODS.working().values())
    if json:
        emit([method.as_dict() | {"origin": _origin(METHODS, method.name)} for method in chosen])
    elif names:
        _print(chosen, METHODS, detailed=True)
    else:
        _print_groups(chosen, METHODS)
    for problem in {} if names else METHODS.problems().values():
        note(str(problem))


def _origin(registry: Registry[Any], name: str) -> str:
    """Return the package that provides a method or scorer, or "file" for a user's own file."""
    return registry.origin(name) if name in registry else "file"


def _list_scorers(registry: Registry[Any], names: list[str] | None, json: bool) -> None:
    wrong = [name for name in names or [] if name not in registry]
    if wrong:
        raise ParameterError(unknown_name(f"no scorer named {wrong[0]!r:.60}", wrong[0], registry))
    chosen = {name: registry[name] for name in names} if names else registry.working()
    rows = [
        {"name": name, "line": (inspect.getdoc(kind) or "").partition("\n")[0], "origin": registry.origin(name)}
        for name, kind in chosen.items()
    ]
    if json:
        emit(rows)
        return
    for row in rows:
        show((row["name"], "bold"), "  ", (row["origin"], "dim"))
        show("  " + row["line"])
    for problem in {} if names else registry.problems().values():
        note(str(problem))


def _print_groups(chosen: list[Any], registry: Registry[Any]) -> None:
    """Print the recommended methods with their gains, then all methods by group, groups with recommended ones first."""
    from intact.reason.recommended import RECOMMENDED

    known, groups = {method.name: method for method in chosen}, dict[str, list[Any]]()
    first = [known[name] for name in RECOMMENDED if name in known]
    for method in [*first, *chosen]:
        groups.setdefault(method.group, [])
    for method in chosen:
        groups[method.group].append(method)
    show("Recommended, with measured gains (95% intervals; study/scaling.md)", style="bold magenta")
    for method in first:
        show((method.name, "bold"), "  ", (str(RECOMMENDED[method.name]), "green"))
        show("  " + method.line)
    for group, members in groups.items():
        show()
        show(group[:1].upper() + group[1:], style="bold magenta")
        _print(members, registry, detailed=False)


def _print(chosen: list[Any], registry: Registry[Any], detailed: bool) -> None:
    for method in chosen:
        origin = _origin(registry, method.name)
        source = method.paper if origin in ("intact", "file") else f"{method.paper} ({origin})"
        show((method.name, "bold"), "  ", (source, "dim"))
        show("  " + method.line)
        if not detailed:
            continue
        rows: list[tuple[str, str | Text]] = []
        for parameter in method.parameters:
            default = str(parameter.default).replace("\n", "\\n")  # as --set takes it
            rows.append((f"--set {parameter.name}={default}", parameter.help))
        for name, value in method.sampling.items():
            rows.append((f"--{name.replace('_', '-')} {value}", Text("unless you say otherwise", "dim")))
        show_rows(rows, indented=True)
