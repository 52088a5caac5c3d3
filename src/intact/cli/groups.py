"""Options in groups: a dataclass whose fields are options, of which a command receives an instance."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, get_type_hints

from intact.cli import fetch
from intact.cli.options import (
    CacheOption,
    Command,
    ContinuesOption,
    FixedNowOption,
    ProfileOption,
    ThreadsOption,
    WithOption,
    as_bytes,
    pair,
)


def with_groups(command: Command) -> Command:
    """Give a command the options of its parameters that are dataclasses.

    Each field of such a class becomes an option of the command, annotated and with a default as Typer expects of
    parameters; the command receives an instance of the class.
    """
    parameters = inspect.signature(command, eval_str=True).parameters.values()
    groups: dict[str, Any] = {p.name: p.annotation for p in parameters if is_dataclass(p.annotation)}
    options = []
    for parameter in parameters:
        if parameter.name not in groups:
            options.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        kinds = get_type_hints(parameter.annotation, include_extras=True)
        options += [
            inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=kinds[f.name])
            for f in fields(parameter.annotation)
        ]

    @functools.wraps(command)
    def wrapped(**given: Any) -> None:
        made = {name: kind(**{f.name: given.pop(f.name) for f in fields(kind)}) for name, kind in groups.items()}
        command(**given, **made)

    wrapped.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {option.name: option.annotation for option in options}
    return wrapped


@dataclass(frozen=True)
class ModelOptions:
    """The options of commands that run a method: how models are loaded, and which there are besides the first."""

    others: WithOption = None
    now: FixedNowOption = None
    continues: ContinuesOption = "no"
    profile: ProfileOption = "int8"
    threads: ThreadsOption = None
    cache: CacheOption = None

    @property
    def named(self) -> dict[str, str]:
        """The other models by the names that the method calls them."""
        return dict(map(pair, self.others or []))

    @property
    def loading(self) -> dict[str, Any]:
        """The arguments of `intact.load`."""
        return {"profile": self.profile, "threads": self.threads, "cache_bytes": as_bytes(self.cache)}

    def opened(self, named: Mapping[str, str], **loading: Any) -> AbstractContextManager[dict[str, Any]]:
        """Load models by their names, and open a back end for each."""
        from intact.solving import is_address, opened

        arguments = self.loading | loading
        models = {name: one if is_address(one) else fetch.load(one, **arguments) for name, one in named.items()}
        return opened(models, self.continues, self.now)
