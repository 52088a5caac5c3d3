"""The frontier of accuracy and cost: which methods no other method beats on both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from intact.errors import ParameterError


class Point(NamedTuple):
    """A method: how accurate it is, and what it takes.

    Attributes
    ----------
    name : str
    accuracy : float
    cost : mapping
        By unit, a problem's mean: tokens, operations, seconds.
    """

    name: str
    accuracy: float
    cost: Mapping[str, float]


class Frontier(NamedTuple):
    """Methods sorted out by one unit of cost.

    Attributes
    ----------
    kept : tuple of Point
        From the cheapest to the most accurate.
    dominated : mapping
        The others by name, each with the method of the frontier that is as accurate or more for as little or less: of
        several the most accurate.
    """

    kept: tuple[Point, ...]
    dominated: Mapping[str, str]


def frontier(points: Sequence[Point], unit: str = "tokens") -> Frontier:
    """Sort methods out: one is dominated if another is at least as accurate and costs no more, and is better in one.

    Methods that are equal in both stay, both of them.

    Raises
    ------
    ParameterError
        If there is no method, two have one name, a cost is missing, or a number is not finite.
    """
    if not points:
        raise ParameterError("there is no method")
    names = [point.name for point in points]
    if len(set(names)) < len(names):
        raise ParameterError(f"two methods are called {next(name for name in names if names.count(name) > 1)!r}")
    for point in points:
        if unit not in point.cost:
            raise ParameterError(f"{point.name} has no cost in {unit}, but in {', '.join(point.cost) or 'nothing'}")
        if not (math.isfinite(point.accuracy) and math.isfinite(point.cost[unit])):
            raise ParameterError(f"{point.name} has an accuracy of {point.accuracy} for {point.cost[unit]} {unit}")
    ordered = sorted(points, key=lambda point: (point.cost[unit], -point.accuracy))
    kept: list[Point] = []
    for point in ordered:
        last = kept[-1] if kept else None
        if last is None or point.accuracy > last.accuracy or _same(point, last, unit):
            kept.append(point)
    stay = {point.name for point in kept}
    dominated = {
        point.name: max((one for one in kept if one.cost[unit] <= point.cost[unit]), key=lambda one: one.accuracy).name
        for point in points
        if point.name not in stay
    }
    return Frontier(tuple(kept), dominated)


def _same(one: Point, other: Point, unit: str) -> bool:
    return one.accuracy == other.accuracy and one.cost[unit] == other.cost[unit]
