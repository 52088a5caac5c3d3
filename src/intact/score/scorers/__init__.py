"""Scorers by name, one kind a file: what `intact.reason.Score` may ask for."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Any

from intact.errors import ParameterError
from intact.reason.scorer import Scorer


@cache
def scorers() -> dict[str, type[Any]]:
    """The classes of this package that have a `name` and a method `score`, by that name, sorted.

    Each also has a `version`, which is raised when its numbers change, and may name shared parts in `uses`
    (`intact.run_receipts.versions`).
    """
    found: dict[str, type[Any]] = {}
    for module in pkgutil.iter_modules(__path__):
        for value in vars(importlib.import_module(f"{__name__}.{module.name}")).values():
            if isinstance(value, type) and hasattr(value, "score") and isinstance(vars(value).get("name"), str):
                found[vars(value)["name"]] = value
    return dict(sorted(found.items()))


def find_scorer(name: str) -> Scorer:
    """Make the scorer of a name; ``name:argument`` gives its class one argument.

    Raises
    ------
    ParameterError
        If there is none, naming what there is.
    """
    kind, colon, argument = name.partition(":")
    if kind not in scorers():
        raise ParameterError(f"there is no scorer {kind!r}; there are {', '.join(scorers())}")
    made: Scorer = scorers()[kind](argument) if colon else scorers()[kind]()
    return made
