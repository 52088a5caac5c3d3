"""Scorers by name, one kind a file: what `intact.reason.Score` may ask for."""

from __future__ import annotations

from typing import Any, Final

from intact._base.errors import ParameterError
from intact._base.plugins import Registry
from intact._base.suggest import unknown_name
from intact.reason.scorer import Scorer


def _name_of(value: Any) -> str | None:
    """Return a scorer's name: that of a class with a method `score` and a `name` of its own."""
    name = vars(value).get("name") if isinstance(value, type) and hasattr(value, "score") else None
    return name if isinstance(name, str) else None


SCORERS: Final = Registry[type[Any]]("intact.scorers", "intact.tasks.score.scorers", _name_of)
"""All scorers: those that the files of this package define, and those of other packages.

Each has a `version`, which is raised when its numbers change, and may name shared parts in `uses`
(`intact.solving.receipts.versions`), and in `packages` what must be installed for it (`intact.tasks.score.available`).
"""


def find_scorer(name: str) -> Scorer:
    """Make the scorer of a name; ``name:argument`` gives its class one argument. Raise as `scorer_kind` does."""
    _, colon, argument = name.partition(":")
    kind = scorer_kind(name)
    made: Scorer = kind(argument) if colon else kind()
    return made


def scorer_kind(name: str) -> type[Any]:
    """Return the class of the scorer of a name.

    Raises
    ------
    ParameterError
        If there is none, naming the nearest ones or what there is.
    PluginError
        If it is of another package that cannot be loaded.
    """
    kind = name.partition(":")[0]
    if kind not in SCORERS:
        raise ParameterError(unknown_name(f"there is no scorer {kind!r:.60}", kind, SCORERS))
    return SCORERS[kind]
