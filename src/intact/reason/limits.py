"""Checks of methods' parameters, before anything is written."""

from __future__ import annotations

from typing import Final

from intact.errors import ParameterError

TOGETHER: Final = 1 << 16
"""Texts that a method asks for at once, where several of its parameters multiply."""


def at_least(least: int, **values: int | None) -> None:
    """Raise ParameterError where a number is below the least allowed, by its name; None is fine."""
    for name, value in values.items():
        if value is not None and value < least:
            raise ParameterError(f"{name} must be at least {least}, got {value}")


def within(low: float, high: float, **values: float) -> None:
    """Raise ParameterError where a number lies outside of [low, high], by its name."""
    for name, value in values.items():
        if not low <= value <= high:
            raise ParameterError(f"{name} must lie in [{low:g}, {high:g}], got {value:g}")


def above(bound: float, **values: float) -> None:
    """Raise ParameterError where a number is not above the bound, by its name."""
    for name, value in values.items():
        if not value > bound:
            raise ParameterError(f"{name} must be above {bound:g}, got {value:g}")


def together(count: int, what: str) -> None:
    """Raise ParameterError where a method would ask for more than `TOGETHER` texts at once, before it makes any."""
    if count > TOGETHER:
        raise ParameterError(f"{what} make {count:,} texts at once; at most {TOGETHER:,} are asked for")
