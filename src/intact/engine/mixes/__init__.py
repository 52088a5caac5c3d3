"""Mixes: named rules, one file each, that make one row of logits of those of several streams (docs/mixing.md)."""

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
"""The source of a further row: the same model after another prompt, or another model."""


@dataclass(frozen=True, kw_only=True)
class Mix:
    """A mix: its name, its parameters and its rule.

    Attributes
    ----------
    version : int
        Raised whenever the rule gives other bits.
    streams : tuple of {'shadow', 'partner'}
        The rows that it takes besides the main one, in order.
    parameters : mapping of str to Definition
        Decimals; the rule gets them as millionths.
    rule : callable
        Takes the rows, the place and the parameters by name, and returns a row (`intact.numerics.mix`).
    source : str
        The paper.
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
        """The model of each further stream: 0 the main one, else the number of a partner, from 1."""
        numbers = count(1)
        return tuple(next(numbers) if kind == "partner" else 0 for kind in self.mix.streams)

    def row(self, rows: list[NDArray[np.int32]], place: Place) -> NDArray[np.int32]:
        """Return the row of logits that is drawn from, int32 (V,)."""
        wide = [row.astype(np.int64) for row in rows]
        return self.mix.rule(*wide, place, **self.values).astype(np.int32)


def chosen_mix(given: object) -> ChosenMix:
    """Return the mix that a request names: its name, or a mapping of `name` and parameters.

    Raises
    ------
    ParameterError
        If there is none of that name, or a parameter is unknown or impossible.
    """
    fields = {"name": given} if isinstance(given, str) else dict(given) if isinstance(given, Mapping) else {}
    name = fields.pop("name", None)
    if not isinstance(name, str):
        raise ParameterError(f"mix must be a name, or a mapping with a name, got {given!r:.60}")
    if name not in MIXES:
        raise ParameterError(unknown_name(f"there is no mix {name!r:.60}", name, MIXES, "they are"))
    mix = MIXES[name]
    for parameter in fields:
        if parameter not in mix.parameters:
            problem = f"the mix {name} has no parameter {parameter!r:.60}"
            raise ParameterError(unknown_name(problem, str(parameter), mix.parameters, "its own are"))
    values = {
        key: millionths(definition.check(f"{name}'s {key}", fields.get(key, definition.default)))
        for key, definition in mix.parameters.items()
    }
    return ChosenMix(mix, MappingProxyType(values))


def mix_of(mix: Mix, values: Mapping[str, int]) -> ChosenMix:
    """Return a mix with values in millionths, checked.

    Raises
    ------
    ParameterError
        If one is missing, unknown or impossible.
    """
    if values.keys() != mix.parameters.keys():
        raise ParameterError(f"the mix {mix.name} takes the parameters {', '.join(mix.parameters)}")
    for key, definition in mix.parameters.items():
        definition.check(f"{mix.name}'s {key}", values[key] / DECIMALS)
    return ChosenMix(mix, MappingProxyType(dict(values)))


def check_shadow(chosen: ChosenMix | None, given: bool) -> None:
    """Raise if a shadow prompt is missing, or given where no stream reads it.

    Raises
    ------
    ParameterError
        If so.
    """
    takes = chosen is not None and "shadow" in chosen.mix.streams
    if takes != given:
        mixed = "without a mix" if chosen is None else f"with the mix {chosen.mix.name}"
        raise ParameterError(f"a shadow prompt is {'missing' if takes else 'of no use'} {mixed}")


def check_partners(chosen: ChosenMix, given: int) -> None:
    """Raise if there are fewer partners than a mix takes.

    Raises
    ------
    ParameterError
        If so.
    """
    if (taken := chosen.mix.streams.count("partner")) > given:
        raise ParameterError(
            f"the mix {chosen.mix.name} takes {taken} partner{'s' * (taken > 1)}, got {given}: name models by "
            "`partners` of intact.load (--with NAME=MODEL)"
        )


def shadow_messages(messages: Sequence[Mapping[str, Any]], shadow: str) -> list[Mapping[str, Any]]:
    """Return the conversation that is read beside another one: a text in the place of its last message.

    Raises
    ------
    ParameterError
        If the last message is not the user's.
    """
    if not messages or messages[-1].get("role") != "user":
        raise ParameterError("a shadow text takes the place of the user's message, and the last one is not the user's")
    return [*messages[:-1], {"role": "user", "content": shadow}]


def read_mix(text: str) -> dict[str, Any]:
    """Return the mix that a text such as ``guidance:scale=1.5`` names, as `chosen_mix` takes it.

    Raises
    ------
    ParameterError
        If a value is no number.
    """
    name, _, rest = text.partition(":")
    fields: dict[str, Any] = {"name": name}
    for part in filter(None, rest.split(",")):
        key, _, value = part.partition("=")
        try:
            fields[key.strip()] = float(value)
        except ValueError:
            example = "NAME or NAME:PARAMETER=NUMBER, such as guidance:scale=1.5"
            raise ParameterError(f"a mix is {example}, got {text!r:.60}") from None
    return fields
