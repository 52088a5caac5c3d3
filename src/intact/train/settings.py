"""The settings of a training run: everything that its bits depend on besides model and data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any, Final

from intact._base.errors import ParameterError
from intact._base.plugins import Registry
from intact._base.suggest import unknown_name
from intact.receipts.canonical import HASHES, HashName
from intact.train.arithmetic.sums import MOST_SEQUENCES
from intact.train.pieces import TrainPiece, positive
from intact.train.rationals import rational
from intact.train.registry import LOSSES, OPTIMISERS, PARAMETERS, SCHEDULES

PROFILES: Final = ("int8", "fp32")
"""Profiles of the forward pass that training supports."""
GRADIENTS: Final = ("fp32", "int8")
"""Arithmetics of the gradient: of its products with matrices that are not trained."""
_KINDS: Final[Mapping[str, Registry[Any]]] = {
    "loss": LOSSES,
    "parameters": PARAMETERS,
    "optimiser": OPTIMISERS,
    "schedule": SCHEDULES,
}


def make_piece(kind: str, value: object) -> Any:
    """Return a piece from its name, or from a mapping of `name` and parameters.

    Raises
    ------
    ParameterError
        If there is no such piece or parameter, or a parameter is invalid.
    """
    registry = _KINDS[kind]
    if isinstance(value, TrainPiece):
        return type(value)(**_parameters(value))
    given = {"name": value} if isinstance(value, str) else value
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        raise ParameterError(f"{kind} must be a name, or a table with a name and parameters; got {value!r:.60}")
    name = given["name"]
    if name not in registry:
        raise ParameterError(unknown_name(f"no {kind} named {name!r:.40}", name, list(registry)))
    piece = registry[name]
    known = {own.name: own for own in fields(piece)}
    chosen: dict[str, Any] = {}
    for key, item in given.items():
        if key == "name":
            continue
        if key not in known:
            raise ParameterError(unknown_name(f"{name} has no parameter {str(key)!r:.40}", str(key), list(known)))
        chosen[key] = _as_default(f"{kind}.{key}", item, known[key].default)
    made = piece(**chosen)
    return piece(**_parameters(made))


def _as_default(name: str, value: object, default: object) -> object:
    """Return a parameter in the type of its default; rationals are written as strings."""
    if isinstance(default, str) and re.fullmatch(r"[\d./e-]+", default):
        return str(rational(name, value))
    if isinstance(default, str) and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ",".join(value)
    if type(value) is not type(default):
        raise ParameterError(f"{name} must be of the type {type(default).__name__}, got {value!r:.40}")
    return value


def piece_to_dict(piece: TrainPiece) -> dict[str, Any]:
    """Return a piece as name, version and parameters, in their normal form."""
    return {"name": piece.name, "version": piece.version, **_parameters(piece)}


def _parameters(piece: TrainPiece) -> dict[str, Any]:
    return {item.name: _as_default(item.name, getattr(piece, item.name), item.default) for item in fields(piece)}


@dataclass(frozen=True)
class TrainSettings:
    """The settings of a run. Pieces may be given by name, or as a mapping of `name` and parameters.

    Attributes
    ----------
    loss, parameters, optimiser, schedule
        Pieces (`intact.train.registry`).
    rate : str
        Largest rate of the schedule, an exact rational such as "1e-4".
    steps, batch : int
        Number of steps, and of rows in each.
    clip : str or None
        Largest norm of a step's gradient; None for no limit.
    seed : int
        Seed of the order of rows and of initial values.
    profile : str
        Profile of the forward pass, "int8" or "fp32".
    bits : {8, 4}
        Number of bits per code for matrices that the checkpoint stores as floats.
    gradient : str
        Arithmetic of the gradient's products with matrices that are not trained, "fp32" or "int8".
    save_every, held_every : int
        Number of steps between saved states, and between held-out losses.
    hash : str
        Hash function of the receipt.

    Raises
    ------
    ParameterError
        If a setting is invalid.
    """

    loss: Any = "cross_entropy"
    parameters: Any = "lora"
    optimiser: Any = "adamw"
    schedule: Any = "constant"
    rate: Any = "1e-4"
    steps: int = 100
    batch: int = 4
    clip: Any = "1"
    seed: int = 0
    profile: str = "int8"
    bits: int = 8
    gradient: str = "fp32"
    save_every: int = 50
    held_every: int = 50
    hash: HashName = "sha256"

    def __post_init__(self) -> None:
        for kind in _KINDS:
            object.__setattr__(self, kind, make_piece(kind, getattr(self, kind)))
        object.__setattr__(self, "rate", str(rational("rate", self.rate)))
        if not 0 < Fraction(self.rate) <= 1000:
            raise ParameterError(f"rate must lie in (0, 1000], got {self.rate}")
        if self.clip is not None:
            object.__setattr__(self, "clip", str(rational("clip", self.clip)))
            if not Fraction(self.clip) > 0:
                raise ParameterError(f"clip must be above 0, or None for no limit; got {self.clip}")
        positive("steps", self.steps, 1, 1 << 24)
        positive("batch", self.batch, 1, MOST_SEQUENCES // 2)
        positive("seed", self.seed, 0, (1 << 53) - 1)
        positive("save_every", self.save_every)
        positive("held_every", self.held_every)
        for name, allowed in (("profile", PROFILES), ("bits", (8, 4)), ("gradient", GRADIENTS), ("hash", HASHES)):
            if getattr(self, name) not in allowed:
                raise ParameterError(
                    f"{name} must be one of {', '.join(map(str, allowed))}, got {getattr(self, name)!r:.40}"
                )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        found: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            found[item.name] = piece_to_dict(value) if isinstance(value, TrainPiece) else value
        return found

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> TrainSettings:
        """Return settings from JSON values.

        Raises
        ------
        ParameterError
            If a member is unknown or invalid, or a piece has another version.
        """
        known = {item.name for item in fields(cls)}
        given = dict(value)
        for name in given:
            if name not in known:
                raise ParameterError(unknown_name(f"no setting {str(name)!r:.40}", str(name), sorted(known)))
        for kind in _KINDS:
            if isinstance(own := given.get(kind), Mapping) and "version" in own:
                piece = make_piece(kind, {key: item for key, item in own.items() if key != "version"})
                if piece.version != own["version"]:
                    raise ParameterError(
                        f"the {kind} {piece.name} has version {piece.version} here, the run used {own['version']!r:.20}"
                    )
                given[kind] = piece
        return cls(**given)

    @property
    def most(self) -> Fraction | None:
        """The largest norm of a step's gradient."""
        return None if self.clip is None else Fraction(self.clip)
