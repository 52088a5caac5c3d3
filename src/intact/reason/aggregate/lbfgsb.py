"""L-BFGS-B for a handful of variables: the same bits on every machine.

The steps follow the reference implementation, version 3.0, which SciPy uses (Byrd, Lu, Nocedal and Zhu 1995, A limited
memory algorithm for bound constrained optimization; Morales and Nocedal 2011; line search: Moré and Thuente 1994). The
approximate Hessian is the same, but is stored as a dense matrix, since a few variables need no compact form. Only
floating-point + - * / and square roots are used, in a fixed order, so nothing depends on a library or a processor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

Vector = list[float]
Function = Callable[[Sequence[float]], tuple[float, Vector]]
"""Function that maps a point to its value and gradient."""

MEMORY = 10
LEAST_REDUCTION = 2.220446049250313e-09
LEAST_GRADIENT = 1e-5
STEPS = 15_000
SEARCHES = 20
_EPSILON = 2.220446049250313e-16
_FARTHEST = 1e10


class Minimum(NamedTuple):
    """The result of a search: the point, its value, and whether the search converged."""

    x: Vector
    value: float
    converged: bool


def minimise(function: Function, start: Sequence[float], low: Sequence[float], high: Sequence[float]) -> Minimum:
    """Find a local minimum within bounds, with SciPy's defaults: 10 corrections, ftol 2.2e-9, gtol 1e-5.

    Parameters
    ----------
    function : callable
        `function(x) -> (value, gradient)`.
    start : sequence of float
        Starting point, moved into the bounds first.
    low, high : sequence of float
        Bounds; infinite for no bound.

    Returns
    -------
    Minimum
        Not converged if the line search fails, a number exceeds the range of a double, or the step limit is reached.
    """
    x = [min(max(one, a), b) for one, a, b in zip(start, low, high, strict=True)]
    try:
        return _minimise(function, x, low, high)
    except (ArithmeticError, ValueError):  # an overflow, or the root of a number that rounding made negative
        return Minimum(x, math.nan, False)


def _minimise(function: Function, x: Vector, low: Sequence[float], high: Sequence[float]) -> Minimum:
    value, gradient = function(x)
    pairs: list[tuple[Vector, Vector]] = []
    for step in range(STEPS):
        if max(map(abs, _projected(x, gradient, low, high))) <= LEAST_GRADIENT:
            return Minimum(x, value, True)
        while True:
            hessian = _hessian(pairs, len(x))
            cauchy, free = _cauchy_point(x, gradient, hessian, low, high=high)
            target = (
                _subspace_minimum(x, gradient, hessian, cauchy, free=free, low=low, high=high)
                if pairs and free
                else cauchy
            )
            found = _search(function, x, value, gradient, target=target, low=low, high=high, first=step == 0)
            if found is not None:
                break
            if not pairs:
                return Minimum(x, value, False)
            pairs = []  # retry along the gradient
        x, before, value, old, gradient, moved, slopes = (
            found.x,
            value,
            found.value,
            gradient,
            found.gradient,
            found.moved,
            found.slopes,
        )
        if before - value <= LEAST_REDUCTION * max(abs(before), abs(value), 1.0):
            return Minimum(x, value, math.isfinite(value))
        change = [a - b for a, b in zip(gradient, old, strict=True)]
        if (slopes[1] - slopes[0]) * found.length > _EPSILON * -slopes[0] * found.length:
            pairs = [*pairs, (moved, change)][-MEMORY:]
    return Minimum(x, value, False)


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    total = 0.0
    for one, other in zip(a, b, strict=True):  # not sum(), which Python 3.12 changed
        total += one * other
    return total


def _times(matrix: Sequence[Sequence[float]], x: Sequence[float]) -> Vector:
    return [_dot(row, x) for row in matrix]


def _projected(x: Vector, gradient: Vector, low: Sequence[float], high: Sequence[float]) -> Vector:
    """Return the projected gradient: each component is limited to the distance from the bound it points to."""
    return [
        max(one - b, slope) if slope < 0 else min(one - a, slope)
        for one, slope, a, b in zip(x, gradient, low, high, strict=True)
    ]


def _hessian(pairs: Sequence[tuple[Vector, Vector]], size: int) -> list[Vector]:
    """Return the BFGS matrix from the last steps and gradient changes, starting with a multiple of the identity."""
    scale = 1.0
    if pairs:
        moved, change = pairs[-1]
        scale = _dot(change, change) / _dot(moved, change)
    matrix = [[scale if i == j else 0.0 for j in range(size)] for i in range(size)]
    for moved, change in pairs:
        image = _times(matrix, moved)
        curvature, gained = _dot(moved, image), _dot(moved, change)
        for i in range(size):
            for j in range(size):
                matrix[i][j] += change[i] * change[j] / gained - image[i] * image[j] / curvature
    return matrix


def _cauchy_point(
    x: Vector, gradient: Vector, hessian: list[Vector], low: Sequence[float], high: Sequence[float]
) -> tuple[Vector, list[int]]:
    """Return the first minimum of the quadratic model along the projected gradient, and the variables free there."""
    size = len(x)
    direction, breaks, free = [0.0] * size, [], []
    for i, slope in enumerate(gradient):
        if (x[i] <= low[i] and slope >= 0) or (x[i] >= high[i] and slope <= 0):
            continue
        free.append(i)
        direction[i] = -slope
        if slope > 0 and low[i] > -math.inf:
            breaks.append(((x[i] - low[i]) / slope, i))
        elif slope < 0 and high[i] < math.inf:
            breaks.append(((high[i] - x[i]) / -slope, i))
    point, time = list(x), 0.0
    curvature = _dot(direction, _times(hessian, direction))
    least = _EPSILON * curvature
    for end, i in [*sorted(breaks), (math.inf, -1)]:
        if not any(direction):
            break
        shift = [a - b for a, b in zip(point, x, strict=True)]
        slope = _dot(gradient, direction) + _dot(direction, _times(hessian, shift))
        curvature = max(_dot(direction, _times(hessian, direction)), least)
        length = max(-slope / curvature, 0.0)
        if length < end - time or i < 0:
            point = [a + length * b for a, b in zip(point, direction, strict=True)]
            break
        point = [a + (end - time) * b for a, b in zip(point, direction, strict=True)]
        point[i] = low[i] if direction[i] < 0 else high[i]
        direction[i], time = 0.0, end
        free.remove(i)
    return point, free


def _subspace_minimum(
    x: Vector,
    gradient: Vector,
    hessian: list[Vector],
    cauchy: Vector,
    free: list[int],
    low: Sequence[float],
    high: Sequence[float],
) -> Vector:
    """Return the minimum of the quadratic model over the free variables, moved back into the bounds."""
    shift = [a - b for a, b in zip(cauchy, x, strict=True)]
    slopes = [-(gradient[i] + _dot(hessian[i], shift)) for i in free]
    steps = _solve([[hessian[i][j] for j in free] for i in free], slopes)
    point = list(cauchy)
    for i, step in zip(free, steps, strict=True):
        point[i] = min(max(cauchy[i] + step, low[i]), high[i])
    touches = any(point[i] in (low[i], high[i]) for i in free)
    if not touches or _dot([a - b for a, b in zip(point, x, strict=True)], gradient) <= 0:
        return point
    share, at = 1.0, -1  # the projected step would lead upwards: stop at the first bound
    for i, step in zip(free, steps, strict=True):
        room = (low[i] if step < 0 else high[i]) - cauchy[i]
        if step and abs(step) * share > abs(room):
            share, at = room / step, i
    point = list(cauchy)
    for i, step in zip(free, steps, strict=True):
        point[i] = (low[i] if step < 0 else high[i]) if i == at else cauchy[i] + share * step
    return point


def _solve(matrix: list[Vector], right: Vector) -> Vector:
    """Solve a small linear system by Gaussian elimination with partial pivoting."""
    rows = [[*row, b] for row, b in zip(matrix, right, strict=True)]
    size = len(rows)
    for i in range(size):
        best = max(range(i, size), key=lambda k: abs(rows[k][i]))
        rows[i], rows[best] = rows[best], rows[i]
        for k in range(i + 1, size):
            factor = rows[k][i] / rows[i][i]
            rows[k] = [a - factor * b for a, b in zip(rows[k], rows[i], strict=True)]
    found = [0.0] * size
    for i in reversed(range(size)):
        found[i] = (rows[i][size] - _dot(rows[i][i + 1 : size], found[i + 1 :])) / rows[i][i]
    return found


class _Found(NamedTuple):
    """The result of a line search: point, step, step length relative to the target, and slopes at both ends."""

    x: Vector
    value: float
    gradient: Vector
    moved: Vector
    length: float
    slopes: tuple[float, float]


def _search(
    function: Function,
    x: Vector,
    value: float,
    gradient: Vector,
    target: Vector,
    low: Sequence[float],
    high: Sequence[float],
    *,
    first: bool,
) -> _Found | None:
    """Search the line from x through a target for a point that meets the Wolfe conditions; None if the search fails."""
    way = [a - b for a, b in zip(target, x, strict=True)]
    slope = _dot(gradient, way)
    if slope >= 0:
        return None
    farthest = 1.0 if first else _FARTHEST
    if not first:
        for one, step, a, b in zip(x, way, low, high, strict=True):
            room = (a if step < 0 else b) - one
            if step and abs(step) * farthest > abs(room):
                farthest = room / step
    length = min(1 / math.sqrt(_dot(way, way)), farthest) if first else 1.0
    search = _LineSearch(value, slope, min(length, farthest), farthest)
    for _ in range(SEARCHES):
        if search.length == 1:
            point = list(target)
        else:
            point = [
                min(max(one + search.length * step, a), b) for one, step, a, b in zip(x, way, low, high, strict=True)
            ]
        here, there = function(point)
        length, end = search.length, _dot(there, way)
        if search.done(here, end):
            moved = [length * step for step in way]
            return _Found(point, here, there, moved, length=length, slopes=(slope, end))
    return None


class _Point(NamedTuple):
    """A step length, with the value and the slope there."""

    length: float
    value: float
    slope: float


def _cubic(a: _Point, here: _Point) -> tuple[float, float]:
    """Return theta and gamma of the cubic through two points with their slopes; its minimum follows from these."""
    theta = 3 * (a.value - here.value) / (here.length - a.length) + a.slope + here.slope
    s = max(abs(theta), abs(a.slope), abs(here.slope))
    gamma = s * math.sqrt(max(0.0, (theta / s) * (theta / s) - a.slope / s * (here.slope / s)))
    return theta, -gamma if here.length > a.length else gamma


class _LineSearch:
    """Moré and Thuente's search, as in MINPACK-2's dcsrch: it proposes steps until one is good enough."""

    ENOUGH, FLAT, NARROW = 1e-3, 0.9, 0.1

    def __init__(self, value: float, slope: float, length: float, farthest: float) -> None:
        self.length = length
        self._farthest, self._start = farthest, _Point(0.0, value, slope)
        self._best = self._other = self._start
        self._bracketed, self._early = False, True
        self._width, self._before = farthest, 2 * farthest
        self._bounds = 0.0, 5 * length

    def done(self, value: float, slope: float) -> bool:
        """Record the value and slope at `length`; return True if done, else set `length` to the next step to try."""
        start, length = self._start, self.length
        goal = self.ENOUGH * start.slope
        most = start.value + length * goal
        if self._early and value <= most and slope >= 0:
            self._early = False
        least, greatest = self._bounds
        if (
            (self._bracketed and (length <= least or length >= greatest))
            or (self._bracketed and greatest - least <= self.NARROW * greatest)
            or (length == self._farthest and value <= most and slope <= goal)
            or (length == 0 and (value > most or slope >= goal))
            or (value <= most and abs(slope) <= self.FLAT * -start.slope)
        ):
            return True
        if self._early and value <= self._best.value and value > most:  # subtract the tangent's share from the function
            best, other, here = (
                _Point(p.length, p.value - p.length * goal, p.slope - goal)
                for p in (self._best, self._other, _Point(length, value, slope))
            )
            best, other = self._step(best, other, here, least, greatest=greatest)
            self._best, self._other = (
                _Point(p.length, p.value + p.length * goal, p.slope + goal) for p in (best, other)
            )
        else:
            self._best, self._other = self._step(
                self._best, self._other, _Point(length, value, slope), least, greatest=greatest
            )
        self._narrow()
        return False

    def _narrow(self) -> None:
        """Bisect an interval that barely shrinks, and set the bounds of the next step."""
        best, other = self._best.length, self._other.length
        if self._bracketed:
            if abs(other - best) >= 0.66 * self._before:
                self.length = best + 0.5 * (other - best)
            self._before, self._width = self._width, abs(other - best)
            self._bounds = min(best, other), max(best, other)
        else:
            self._bounds = self.length + 1.1 * (self.length - best), self.length + 4.0 * (self.length - best)
        self.length = min(max(self.length, 0.0), self._farthest)
        least, greatest = self._bounds
        if self._bracketed and (
            self.length <= least or self.length >= greatest or greatest - least <= self.NARROW * greatest
        ):
            self.length = best

    def _step(self, best: _Point, other: _Point, here: _Point, least: float, greatest: float) -> tuple[_Point, _Point]:
        """Choose the next step by cubic and secant interpolation, and update the interval that contains a minimum."""
        gap = here.length - best.length
        turned = here.slope * (best.slope / abs(best.slope)) if best.slope else 0.0
        if here.value > best.value:
            theta, gamma = _cubic(best, here)
            ratio = (-gamma - best.slope + theta) / (-gamma - best.slope - gamma + here.slope)
            cubic = best.length + ratio * gap
            secant = best.length + best.slope / ((best.value - here.value) / gap + best.slope) / 2 * gap
            near = abs(cubic - best.length) < abs(secant - best.length)
            length = cubic if near else cubic + (secant - cubic) / 2
            self._bracketed = True
        elif turned < 0:
            theta, gamma = _cubic(best, here)
            ratio = (gamma - here.slope + theta) / (gamma - here.slope + gamma + best.slope)
            cubic = here.length - ratio * gap
            secant = here.length - here.slope / (here.slope - best.slope) * gap
            length = cubic if abs(cubic - here.length) > abs(secant - here.length) else secant
            self._bracketed = True
        elif abs(here.slope) < abs(best.slope):
            theta, gamma = _cubic(best, here)
            ratio = (gamma - here.slope + theta) / (gamma + (best.slope - here.slope) + gamma)
            if ratio < 0 and gamma:
                cubic = here.length - ratio * gap
            else:
                cubic = greatest if here.length > best.length else least
            secant = here.length - here.slope / (here.slope - best.slope) * gap
            if self._bracketed:
                length = cubic if abs(cubic - here.length) < abs(secant - here.length) else secant
                limit = here.length + 0.66 * (other.length - here.length)
                length = min(limit, length) if here.length > best.length else max(limit, length)
            else:
                length = cubic if abs(cubic - here.length) > abs(secant - here.length) else secant
                length = max(least, min(greatest, length))
        elif self._bracketed:
            theta, gamma = _cubic(other, here)
            ratio = (gamma - here.slope + theta) / (gamma - here.slope + gamma + other.slope)
            length = here.length + ratio * (other.length - here.length)
        else:
            length = greatest if here.length > best.length else least
        self.length = length
        if here.value > best.value:
            return best, here
        return here, best if turned < 0 else other
