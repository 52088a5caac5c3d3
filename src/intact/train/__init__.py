"""Train adapters, heads and small models to the bit: the same run gives the same weights on every machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from intact.train.base import Base
    from intact.train.examples import Pair, TrainExample
    from intact.train.running import Trained, fit, open_trained, resume
    from intact.train.settings import TrainSettings

__all__ = ["Base", "Pair", "TrainExample", "TrainSettings", "Trained", "fit", "open_trained", "resume"]

_PLACES = {"Base": "base", "Pair": "examples", "TrainExample": "examples", "TrainSettings": "settings"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES.get(name, 'running')}"), name)
