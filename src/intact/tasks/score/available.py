"""Check before generation starts that judges and readers are installed and that programs can be confined."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from intact._base.errors import IntactError, ParameterError
from intact._base.packages import check_installed
from intact.reason.driving.services import read_text
from intact.reason.parts.choice import Arm, Policy
from intact.reason.registry import Method, find
from intact.reason.tools import TOOLS
from intact.tasks.score import symbolic
from intact.tasks.score.answers import expression
from intact.tasks.score.scorers import scorer_kind
from intact.tools import sandbox


def check_method(method: Method, parameters: Mapping[str, Any], *, untrusted: bool = False) -> None:
    """Raise if a method, or a scorer or tool that it names, lacks a dependency or does not fit the rest.

    Parameters
    ----------
    untrusted : bool
        If true, programs never run unprotected, regardless of INTACT_SANDBOX.

    Raises
    ------
    NotInstalledError
        If a package is missing.
    ParameterError
        If a value, or a combination of values, is invalid, there is no such scorer, or the method cannot use the
        scorer's numbers with these parameters.
    SandboxError
        If programs would run unprotected.
    """
    method.read(parameters)
    check_parts(method.uses, untrusted=untrusted)
    for parameter in method.parameters:
        name = parameters.get(parameter.name, parameter.default)
        if parameter.names == "scorer" and isinstance(name, str):
            kind = scorer_kind(name)
            check_installed(f"the scorer {name}", *getattr(kind, "packages", ()))
            check_parts(getattr(kind, "uses", ()), untrusted=untrusted)
            method.check_scorer(parameters, name, kind)
        elif parameter.names == "tool" and name in TOOLS:
            check_parts(TOOLS[name].uses, untrusted=untrusted)
    for arm in _arms(method, parameters):
        check_method(find(arm.method), arm.settings, untrusted=untrusted)


def _arms(method: Method, parameters: Mapping[str, Any]) -> Sequence[Arm]:
    """Return the methods that a policy's table can choose.

    If the table cannot be read, return none; the run then reports the error itself.
    """
    file = parameters.get("table", next((one.default for one in method.parameters if one.name == "table"), None))
    if "policies" not in method.uses or not isinstance(file, str):
        return ()
    try:
        return Policy.parse(read_text(file), file).arms
    except IntactError:
        return ()


def check_data(method: Method, parameters: Mapping[str, Any], data: Iterable[Mapping[str, Any]]) -> None:
    """Raise ParameterError if a scorer needs a field of the problems' data that no problem of a task has."""
    known = list(data)
    for parameter in method.parameters:
        name = parameters.get(parameter.name, parameter.default)
        if parameter.names == "scorer" and isinstance(name, str):
            for field in getattr(scorer_kind(name), "data", ()):
                if known and not any(one.get(field) for one in known):
                    raise ParameterError(f"the scorer {name} needs {field}, which no problem of this task has")


def check_reader(read: Callable[[str], str | None]) -> None:
    """Raise NotInstalledError if answers are only read as expressions and computer algebra is missing.

    `read_answer` needs it only for answers that are not numbers, and then raises itself.
    """
    if read is expression:
        symbolic.check_installed()


def check_parts(parts: Iterable[str], *, untrusted: bool = False) -> None:
    """Raise if shared parts, as named in the `uses` of methods, tasks and scorers, lack a dependency.

    Raises
    ------
    NotInstalledError, SandboxError
        As `check_method`.
    """
    for part in parts:
        if part == "reader expression":
            symbolic.check_installed()
        elif part == "programs":
            sandbox.choose(untrusted=untrusted)
