"""The Pareto frontier of accuracy and cost over methods."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from intact._base.errors import ParameterError


class Point(NamedTuple):
    """A method with its accuracy and cost.

    Attributes
    ----------
    name : str
    accuracy : float
    cost : mapping
        Mean cost per problem by unit: tokens, operations, seconds.
    """

    name: str
    accuracy: float
    cost: Mapping[str, float]


class Frontier(NamedTuple):
    """Methods on the frontier for one unit of cost, and the dominated ones.

    Attributes
    ----------
    kept : tuple of Point
        From the cheapest to the most accurate.
    dominated : mapping
        The remaining methods by name, each with the most accurate method on the frontier that costs no more.
    """

    kept: tuple[Point, ...]
    dominated: Mapping[str, str]


def frontier(points: Sequence[Point], unit: str = "tokens") -> Frontier:
    """Return the methods that no other method dominates.

    A method dominates another if it is at least as accurate for no more cost, and better in one of the two. If methods
    are equal in both, all of them are kept.

    Raises
    ------
    ParameterError
        If there are no methods, two have the same name, a cost is missing, or a number is not finite.
    """
    if not points:
        raise ParameterError("at least one method is needed")
    names = [point.name for point in points]
    if len(set(names)) < len(names):
        raise ParameterError(f"two methods are named {next(name for name in names if names.count(name) > 1)!r}")
    for point in points:
        if unit not in point.cost:
            raise ParameterError(
                f"{point.name} has no cost in {unit}, but only in {', '.join(point.cost) or 'nothing'}"
            )
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
