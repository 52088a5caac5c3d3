"""Mixes: named rules, one file each, that combine the logits of several streams into one row (docs/mixing.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact._base.plugins import Registry
from intact._base.suggest import unknown_name
from intact.engine.sampling.definitions import Definition
from intact.numerics.mix import Place
from intact.numerics.sampling import DECIMALS, millionths

StreamKind = Literal["shadow", "partner"]
"""Source of an additional row: the same model after another prompt, or another model."""


@dataclass(frozen=True, kw_only=True)
class Mix:
    """A mix: its name, parameters and rule.

    Attributes
    ----------
    version : int
        Raised whenever the rule's results change.
    streams : tuple of {'shadow', 'partner'}
        Rows needed in addition to the main one, in order.
    parameters : mapping of str to Definition
        Decimal parameters; the rule receives them in millionths.
    rule : callable
        Takes the rows, the position and the parameters by name, and returns a row (`intact.numerics.mix`).
    source : str
        Paper that the mix comes from.
    """

    name: str
    version: int
    streams: tuple[StreamKind, ...]
    parameters: Mapping[str, Definition]
    rule: Callable[..., NDArray[np.int64]]
    source: str


def _name_of(value: Any) -> str | None:
    return value.name if isinstance(value, Mix) else None


MIXES: Final[Registry[Mix]] = Registry("intact.mixes", __name__, _name_of)


class ChosenMix(NamedTuple):
    """A mix with values for its parameters, in millionths."""

    mix: Mix
    values: Mapping[str, int]

    @property
    def models(self) -> tuple[int, ...]:
        """Model of each additional stream: 0 for the main one, else the number of a partner, counted from 1."""
        numbers = count(1)
        return tuple(next(numbers) if kind == "partner" else 0 for kind in self.mix.streams)

    def row(self, rows: list[NDArray[np.int32]], place: Place) -> NDArray[np.int32]:
        """Return the row of logits to draw from, int32 (V,)."""
        wide = [row.astype(np.int64) for row in rows]
        return self.mix.rule(*wide, place, **self.values).astype(np.int32)


def chosen_mix(given: object) -> ChosenMix:
    """Parse a request's mix: a name, or a mapping of `name` and parameters.

    Raises
    ------
    ParameterError
        If the mix or a parameter is unknown, or a value is invalid.
    """
    fields = {"name": given} if isinstance(given, str) else dict(given) if isinstance(given, Mapping) else {}
    name = fields.pop("name", None)
    if not isinstance(name, str):
        raise ParameterError(f"mix must be a name or a mapping with the key 'name', got {given!r:.60}")
    if name not in MIXES:
        raise ParameterError(unknown_name(f"no mix named {name!r:.60}", name, MIXES))
    mix = MIXES[name]
    for parameter in fields:
        if parameter not in mix.parameters:
            problem = f"the mix {name} has no parameter {parameter!r:.60}"
            raise ParameterError(unknown_name(problem, str(parameter), mix.parameters, "it has"))
    values = {
        key: millionths(definition.check(f"{name}'s {key}", fields.get(key, definition.default)))
        for key, definition in mix.parameters.items()
    }
    return ChosenMix(mix, MappingProxyType(values))


def mix_of(mix: Mix, values: Mapping[str, int]) -> ChosenMix:
    """Return a mix with given values in millionths, after checking them.

    Raises
    ------
    ParameterError
        If a value is missing, unknown or invalid.
    """
    if values.keys() != mix.parameters.keys():
        raise ParameterError(
            f"the mix {mix.name} takes the parameters {', '.join(mix.parameters)}, got {', '.join(values) or 'none'}"
        )
    for key, definition in mix.parameters.items():
        definition.check(f"{mix.name}'s {key}", values[key] / DECIMALS)
    return ChosenMix(mix, MappingProxyType(dict(values)))


def check_shadow(chosen: ChosenMix | None, given: bool) -> None:
    """Raise if a shadow prompt is missing, or given although no stream reads it.

    Raises
    ------
    ParameterError
        If the shadow prompt does not fit the mix.
    """
    if chosen is None:
        if given:
            raise ParameterError("a shadow prompt needs a mix")
    elif ("shadow" in chosen.mix.streams) != given:
        raise ParameterError(f"the mix {chosen.mix.name} {'takes no' if given else 'needs a'} shadow prompt")


def check_partners(chosen: ChosenMix, given: int) -> None:
    """Raise if there are fewer partners than the mix needs.

    Raises
    ------
    ParameterError
        If partners are missing.
    """
    if (taken := chosen.mix.streams.count("partner")) > given:
        raise ParameterError(
            f"the mix {chosen.mix.name} takes {taken} partner{'s' * (taken > 1)}, got {given}: name models with "
            "`partners` of intact.load (--with NAME=MODEL)"
        )


def shadow_messages(messages: Sequence[Mapping[str, Any]], shadow: str) -> list[Mapping[str, Any]]:
    """Return the shadow conversation: the given one with its last message replaced.

    Raises
    ------
    ParameterError
        If the last message is not the user's.
    """
    if not messages or messages[-1].get("role") != "user":
        raise ParameterError("a shadow text replaces the last message, which must be the user's")
    return [*messages[:-1], {"role": "user", "content": shadow}]


def read_mix(text: str) -> dict[str, Any]:
    """Parse a mix such as ``guidance:scale=1.5`` into the form that `chosen_mix` takes.

    Raises
    ------
    ParameterError
        If a value is not a number.
    """
    name, _, rest = text.partition(":")
    fields: dict[str, Any] = {"name": name}
    for part in filter(None, rest.split(",")):
        key, _, value = part.partition("=")
        try:
            fields[key.strip()] = float(value)
        except ValueError:
            example = "NAME or NAME:PARAMETER=NUMBER, such as guidance:scale=1.5"
            raise ParameterError(f"a mix must have the form {example}, got {text!r:.60}") from None
    return fields
