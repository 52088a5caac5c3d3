"""Checks of parameters' values, and annotations that make them part of a method's declaration.

``n: Count = 16`` declares an integer of at least 1. Where no name fits, the check is written into the annotation:
``rule: Annotated[str, partial(one_of, RULES)]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias

from intact.engine.sampling.parameters import MOST_TOP_LOGPROBS
from intact.errors import ParameterError

TOGETHER: Final = 1 << 16
"""Texts that a method asks for at once, where several of its parameters multiply."""


def at_least(least: float, /, **values: float | None) -> None:
    """Raise ParameterError where a number is below the least allowed, by its name; None is fine."""
    _require(values, lambda value: value is None or value >= least, f"be at least {least}")


def within(low: float, high: float, /, **values: float) -> None:
    """Raise ParameterError where a number lies outside of [low, high], by its name."""
    _require(values, lambda value: low <= value <= high, f"lie in [{low:g}, {high:g}]")


def above(bound: float, /, **values: float) -> None:
    """Raise ParameterError where a number is not above the bound, by its name."""
    _require(values, lambda value: value > bound, f"be above {bound:g}")


def one_of(choices: Iterable[str], /, **values: str) -> None:
    """Raise ParameterError where a text is none of the choices, by its name."""
    known = list(choices)
    _require(values, lambda value: value in known, f"be one of {', '.join(known)}")


def filled(**values: str) -> None:
    """Raise ParameterError where a text is empty, by its name."""
    _require(values, bool, "not be empty")


def _require(values: Mapping[str, Any], holds: Callable[[Any], bool], what: str) -> None:
    for name, value in values.items():
        if not holds(value):
            raise ParameterError(f"{name} must {what}, got {value!r:.60}")


def together(count: int, what: str) -> None:
    """Raise ParameterError where a method would ask for more than `TOGETHER` texts at once, before it makes any."""
    if count > TOGETHER:
        raise ParameterError(f"{what} make {count:,} texts at once; at most {TOGETHER:,} are asked for")


class Named(NamedTuple):
    """Says that a parameter names something that the driver has: it is looked up before the method begins."""

    kind: Literal["scorer", "model"]


Count: TypeAlias = Annotated[int, partial(at_least, 1)]
Natural: TypeAlias = Annotated[int, partial(at_least, 0)]
Likeliest: TypeAlias = Annotated[int, partial(within, 1, MOST_TOP_LOGPROBS)]
"""How many of the likeliest tokens a back end tells at each place."""
Share: TypeAlias = Annotated[float, partial(within, 0, 1)]
Amount: TypeAlias = Annotated[float, partial(at_least, 0)]
Positive: TypeAlias = Annotated[float, partial(above, 0)]
Filled: TypeAlias = Annotated[str, filled]
ScorerName: TypeAlias = Annotated[str, Named("scorer")]
"""A scorer's name; a scorer itself does too."""
ModelName: TypeAlias = Annotated[str, Named("model")]
"""A model's name in the driver; empty is the one that writes."""
