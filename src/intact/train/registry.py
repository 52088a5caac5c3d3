"""The registries of the trainer's pieces; other packages add pieces through entry points."""

from __future__ import annotations

from collections.abc import Callable
from inspect import isabstract
from typing import Any, Final

from intact._base.plugins import Registry
from intact.train.pieces import Loss, Optimiser, Parameters, Schedule


def _namer(kind: type) -> Callable[[Any], str | None]:
    def name_of(value: Any) -> str | None:
        found = isinstance(value, type) and issubclass(value, kind) and not isabstract(value)
        return str(getattr(value, "name")) if found else None  # noqa: B009

    return name_of


LOSSES: Final[Registry[type[Loss]]] = Registry("intact.train.losses", "intact.train.losses", _namer(Loss))
PARAMETERS: Final[Registry[type[Parameters]]] = Registry(
    "intact.train.parameters", "intact.train.parameters", _namer(Parameters)
)
OPTIMISERS: Final[Registry[type[Optimiser]]] = Registry(
    "intact.train.optimisers", "intact.train.optimisers", _namer(Optimiser)
)
SCHEDULES: Final[Registry[type[Schedule]]] = Registry(
    "intact.train.schedules", "intact.train.schedules", _namer(Schedule)
)
