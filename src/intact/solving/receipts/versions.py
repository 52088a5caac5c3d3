"""Versions of the code that turns completions into answers, declared next to the code and incremented when it changes.

Digests in manifests and receipts are computed from these numbers and never from source text, so changing comments or
names, or moving code, does not change any published byte. Stored test cases pin the behaviour of every version
(`tests/support/pins.py`).
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple

from intact._base.plugins import installed
from intact.reason import aggregate
from intact.reason.driving import driver
from intact.reason.parts import choice, prompting
from intact.reason.registry import Method, all_methods
from intact.reason.tools import TOOLS
from intact.receipts import canonical
from intact.tasks.score import answers, code, equations, symbolic
from intact.tasks.score.scorers import SCORERS
from intact.tasks.task import TASKS, Task
from intact.text import thinking

OF_METHODS: Final = ("aggregation", "driver", "thoughts")
"""The parts that every method uses."""


class _Part(NamedTuple):
    """The declaration of a part: its version, the parts that it uses, and external libraries that affect it."""

    version: int
    uses: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()


@dataclass(frozen=True)
class Versions:
    """Versions of all parts that can affect a result.

    Attributes
    ----------
    parts : mapping of str to int
        Versions of this package's parts, such as ``method best_of_n``, sorted by name; None if the part does not exist.
    libraries : mapping of str to str
        Versions of external libraries, sorted by name; None if a library is not installed.
    python : str or None
        Version of the interpreter that runs programs, such as ``3.11``, if one of the parts runs programs.
    """

    parts: Mapping[str, int | None]
    libraries: Mapping[str, str | None]
    python: str | None

    def to_document(self) -> dict[str, Any]:
        """Return the value as a JSON object."""
        return {"parts": dict(self.parts), "libraries": dict(self.libraries), "python": self.python}

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical form."""
        return hashlib.sha256(canonical.encode(self.to_document())).digest()


def versions_of(names: Iterable[str], others: Mapping[str, _Part] | None = None) -> Versions:
    """Return the versions of parts and of everything that they use.

    Parameters
    ----------
    names : iterable of str
        ``method NAME``, ``scorer NAME``, ``task NAME``, ``reader NAME``, ``tool NAME``, or the name of a shared part.
    others : mapping, optional
        Parts that cannot be looked up by name, such as a user-defined task.
    """
    known = {**_parts(), **(others or {})}
    found: dict[str, _Part | None] = {}
    left = list(names)
    while left:
        name = left.pop()
        if name not in found:
            part = found[name] = known.get(name)
            left += part.uses if part is not None else ()
    libraries = {library for part in found.values() if part is not None for library in part.libraries}
    return Versions(
        {name: None if part is None else part.version for name, part in sorted(found.items())},
        {library: installed(library) for library in sorted(libraries)},
        ".".join(platform.python_version_tuple()[:2]) if "programs" in found else None,
    )


def versions_of_task(task: Task) -> Versions:
    """Return the versions of the code that reads and grades a task's answers."""
    name = f"task {task.name}"
    return versions_of([name], {name: _part_of(task, "thoughts")})


def versions_of_method(method: Method, parameters: Mapping[str, Any]) -> Versions:
    """Return the versions of a method and of the scorers and tools that its parameters name."""
    named = [parameters.get(one.name) for one in method.parameters if one.names == "scorer"]
    judges = [f"scorer {name.partition(':')[0]}" for name in named if isinstance(name, str) and name]
    tools = [f"tool {parameters.get(one.name)}" for one in method.parameters if one.names == "tool"]
    tools = [name for name in tools if name.removeprefix("tool ") in TOOLS.own]
    name = f"method {method.name}"
    return versions_of([name, *judges, *tools], {name: _part_of(method, *OF_METHODS)})


def versions_of_all() -> Versions:
    """Return the versions of all parts of this package, and of everything that they use."""
    return versions_of(_parts())


def _part_of(value: Any, *uses: str) -> _Part:
    return _Part(
        getattr(value, "version", 1), (*uses, *getattr(value, "uses", ())), tuple(getattr(value, "libraries", ()))
    )


@cache
def _parts() -> dict[str, _Part]:
    """Return all parts of this package by name."""
    methods = {f"method {name}": _part_of(method, *OF_METHODS) for name, method in all_methods().items()}
    readers = {f"reader {name}": _Part(number) for name, number in answers.VERSIONS.items()}
    return {
        "aggregation": _Part(aggregate.VERSION),
        "algebra": _Part(symbolic.VERSION, libraries=("latex2sympy2-extended", "math-verify", "sympy")),
        "driver": _Part(driver.VERSION),
        "equations": _Part(equations.VERSION),
        "policies": _Part(choice.VERSION, tuple(methods)),
        "programs": _Part(code.VERSION),
        "prompts": _Part(prompting.VERSION),
        "thoughts": _Part(thinking.VERSION),
        **methods,
        **readers,
        "reader number": readers["reader number"]._replace(uses=("equations",)),
        "reader expression": readers["reader expression"]._replace(uses=("algebra", "equations")),
        **{f"scorer {name}": _part_of(kind) for name, kind in SCORERS.own.items()},
        **{f"task {name}": _part_of(kind, "thoughts") for name, kind in TASKS.own.items()},
        **{f"tool {name}": _part_of(kind) for name, kind in TOOLS.own.items()},
    }
