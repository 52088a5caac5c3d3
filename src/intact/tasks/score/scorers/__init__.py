"""Scorers by name, one per file; `intact.reason.Score` requests use these names."""

from __future__ import annotations

from typing import Any, Final

from intact._base.errors import ParameterError
from intact._base.plugins import Registry
from intact._base.suggest import unknown_name
from intact.reason.scorer import Scorer


def _name_of(value: Any) -> str | None:
    """Return the name of a scorer class: a class with a method `score` and its own `name`."""
    name = vars(value).get("name") if isinstance(value, type) and hasattr(value, "score") else None
    return name if isinstance(name, str) else None


SCORERS: Final = Registry[type[Any]]("intact.scorers", "intact.tasks.score.scorers", _name_of)
"""All scorers: those defined in this package, and those of other packages.

Each has a `version`, which is incremented when its numbers change. It may name shared parts in `uses`
(`intact.solving.receipts.versions`) and required packages in `packages` (`intact.tasks.score.available`).
"""


def find_scorer(name: str) -> Scorer:
    """Create the scorer with this name; ``name:argument`` passes an argument to its class.

    Raise as `scorer_kind` does.
    """
    _, colon, argument = name.partition(":")
    kind = scorer_kind(name)
    made: Scorer = kind(argument) if colon else kind()
    return made


def scorer_kind(name: str) -> type[Any]:
    """Return the class of the scorer with this name.

    Raises
    ------
    ParameterError
        If there is no such scorer; the message names the nearest ones or all of them.
    PluginError
        If it belongs to another package that cannot be loaded.
    """
    kind = name.partition(":")[0]
    if kind not in SCORERS:
        raise ParameterError(unknown_name(f"no scorer named {kind!r:.60}", kind, SCORERS))
    return SCORERS[kind]
