"""Checks before the first token: what will read and judge the answers is installed, and programs can be confined."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from intact.packages import check_installed
from intact.reason.registry import Method
from intact.score import symbolic
from intact.score.answers import expression, read_answer
from intact.score.scorers import scorer_kind
from intact.tools import sandbox


def check_method(method: Method, parameters: Mapping[str, Any], *, untrusted: bool = False) -> None:
    """Raise if a method, or a scorer that its parameters name, needs what is not here.

    Parameters
    ----------
    untrusted : bool
        If true, programs never run without protection, whatever INTACT_SANDBOX says.

    Raises
    ------
    NotInstalledError
        If a package is missing.
    ParameterError
        If there is no such scorer.
    SandboxError
        If programs would run without protection.
    """
    check_parts(method.uses, untrusted=untrusted)
    for parameter in method.parameters:
        name = parameters.get(parameter.name, parameter.default)
        if parameter.names == "scorer" and isinstance(name, str):
            kind = scorer_kind(name)
            check_installed(f"the scorer {name}", *getattr(kind, "packages", ()))
            check_parts(getattr(kind, "uses", ()), untrusted=untrusted)


def check_reader(read: Callable[[str], str | None]) -> None:
    """Raise NotInstalledError if reading an answer so may take computer algebra, and that is missing."""
    if read in (expression, read_answer):
        symbolic.check_installed()


def check_parts(parts: Iterable[str], *, untrusted: bool = False) -> None:
    """Raise if shared parts, by the names that methods, tasks and scorers have in `uses`, need what is not here.

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
