"""Polynomial inequalities, decided exactly: sums of squares as certificates, points as counterexamples, boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal, NamedTuple

from intact._base.errors import ParameterError
from intact.tools.prove.polynomials import Point, Polynomial

MOST_BOXES: Final = 2_000
"""Default maximum number of boxes in a search."""


@dataclass(frozen=True)
class SumOfSquares:
    """A certificate that a polynomial is nonnegative: squares with nonnegative weights.

    Attributes
    ----------
    weights : tuple of Fraction
    roots : tuple of Polynomial
        The polynomials that are squared.
    """

    weights: tuple[Fraction, ...]
    roots: tuple[Polynomial, ...]

    def certifies(self, polynomial: Polynomial) -> bool:
        """Return true if all weights are nonnegative and the sum equals the polynomial, coefficient by coefficient."""
        if len(self.weights) != len(self.roots) or any(weight < 0 for weight in self.weights):
            return False
        if any(root.variables != polynomial.variables for root in self.roots):
            return False
        total = Polynomial.of(polynomial.variables, {})
        for weight, root in zip(self.weights, self.roots, strict=True):
            total = total + (root * root).scale(weight)
        return total == polynomial

    def __str__(self) -> str:
        return " + ".join([f"({w})*({r})^2" for w, r in zip(self.weights, self.roots, strict=True)]) or "0"


class LeastValue(NamedTuple):
    """The minimum of a polynomial, a point at which it is attained, and a certificate that no value is smaller."""

    value: Fraction
    point: Point
    certificate: SumOfSquares


def nonnegative(polynomial: Polynomial) -> SumOfSquares | Point:
    """Return a certificate that a polynomial of degree at most 2 is nonnegative, or a point where it is negative.

    Gaussian elimination is applied to the symmetric matrix of its homogeneous form in exact rational arithmetic, as in
    L D L^T: it is positive semidefinite if and only if the polynomial is nonnegative.

    Raises
    ------
    ParameterError
        If the degree is larger than 2.
    """
    least = _complete(polynomial)
    if isinstance(least, LeastValue):
        if least.value >= 0:
            one = Polynomial.constant(polynomial.variables, Fraction(1))
            held = least.certificate
            return SumOfSquares((*held.weights, least.value), (*held.roots, one)) if least.value else held
        return least.point
    return _far(polynomial, least)


def minimum(polynomial: Polynomial) -> LeastValue | None:
    """Return the minimum of a polynomial of degree at most 2, or None if it has no minimum.

    Raises
    ------
    ParameterError
        If the degree is larger than 2.
    """
    least = _complete(polynomial)
    return least if isinstance(least, LeastValue) else None


def _complete(polynomial: Polynomial) -> LeastValue | Point:
    """Complete squares; return the minimum, or a direction in which the values are unbounded below."""
    if polynomial.degree > 2:
        raise ParameterError(f"the degree must be at most 2 for this decision, got {polynomial.degree}")
    count = len(polynomial.variables)
    matrix = _matrix(polynomial)
    left, done = list(range(count)), list[tuple[int, list[Fraction]]]()
    weights, roots = list[Fraction](), list[Polynomial]()
    while pivots := [k for k in left if matrix[k][k] > 0]:
        k = pivots[0]
        size = matrix[k][k]
        row = [value / size for value in matrix[k]]
        weights.append(size)
        roots.append(_linear(polynomial, row))
        done.append((k, row))
        left.remove(k)
        for i in [*left, count]:
            for j in [*left, count]:
                matrix[i][j] -= size * row[i] * row[j]
        for i in range(count + 1):
            matrix[k][i] = matrix[i][k] = Fraction(0)
    for k in left:
        others = [j for j in [*left, count] if j != k and matrix[k][j]]
        if not matrix[k][k] and not others:
            continue
        direction = [Fraction(0)] * count
        direction[k] = Fraction(1)
        if not matrix[k][k]:
            other = others[0]  # a variable, or else the constant
            sign = Fraction(-1 if matrix[k][other] > 0 else 1)
            direction[k if other == count else other] = sign
        return _back(direction, done)
    point = _back([Fraction(0)] * count, done, constant=Fraction(1))
    certificate = SumOfSquares(tuple(weights), tuple(roots))
    return LeastValue(matrix[count][count], point, certificate)


def _back(
    direction: list[Fraction], done: Sequence[tuple[int, list[Fraction]]], constant: Fraction = Fraction(0)
) -> Point:
    """Solve for the eliminated variables such that their squares vanish."""
    values = [*direction, constant]
    for k, row in reversed(done):
        values[k] = -sum([row[j] * values[j] for j in range(len(values)) if j != k], Fraction(0))
    return tuple(values[:-1])


def _far(polynomial: Polynomial, direction: Point) -> Point:
    """Return a point, possibly far away, at which a polynomial is negative in a direction."""
    step = Fraction(1)
    while polynomial(point := tuple([step * value for value in direction])) >= 0:
        step *= 2
    return point


def _matrix(polynomial: Polynomial) -> list[list[Fraction]]:
    """Return the symmetric matrix of the homogeneous form; the last row and column correspond to the constant."""
    count = len(polynomial.variables)
    matrix = [[Fraction(0)] * (count + 1) for _ in range(count + 1)]
    for powers, value in polynomial.terms.items():
        places = [k for k, power in enumerate(powers) for _ in range(power)]
        places += [count] * (2 - len(places))
        i, j = places
        matrix[i][j] += value / 2
        matrix[j][i] += value / 2
    return matrix


def _linear(polynomial: Polynomial, row: Sequence[Fraction]) -> Polynomial:
    count = len(polynomial.variables)
    terms = {tuple([int(k == j) for k in range(count)]): row[j] for j in range(count)}
    return Polynomial.of(polynomial.variables, {**terms, (0,) * count: row[count]})


class BoxVerdict(NamedTuple):
    """The verdict on a polynomial on a box.

    Attributes
    ----------
    kind : {'holds', 'fails', 'open'}
        Nonnegative; negative at `point`; undecided within the box limit.
    boxes : int
        Number of boxes examined.
    """

    kind: Literal["holds", "fails", "open"]
    boxes: int
    point: Point | None = None


def nonnegative_on_box(polynomial: Polynomial, low: Point, high: Point, most: int = MOST_BOXES) -> BoxVerdict:
    """Decide whether a polynomial of any degree is nonnegative on a box, by exact Bernstein coefficients.

    The box is subdivided as needed. If the minimum is 0 and is attained in the interior, the search may end without a
    verdict.

    Parameters
    ----------
    most : int
        Maximum number of boxes.

    Raises
    ------
    ParameterError
        If the number of the box's sides differs from the number of variables, or the box is empty.
    """
    if not len(low) == len(high) == len(polynomial.variables) or any(a > b for a, b in zip(low, high, strict=True)):
        raise ParameterError(f"a box needs a lower and an upper bound for each of {', '.join(polynomial.variables)}")
    waiting, boxes = [(low, high)], 0
    while waiting:
        if boxes == most:
            return BoxVerdict("open", boxes)
        under, over = waiting.pop()
        boxes += 1
        found = polynomial.bernstein(under, over)
        if min(found.values()) >= 0:
            continue
        ends = [max(column) for column in zip(*found, strict=True)]
        for place, value in found.items():
            if value < 0 and all(i in (0, end) for i, end in zip(place, ends, strict=True)):
                corner = [
                    over[k] if end and i == end else under[k]
                    for k, (i, end) in enumerate(zip(place, ends, strict=True))
                ]
                return BoxVerdict("fails", boxes, tuple(corner))
        widths = [b - a for a, b in zip(under, over, strict=True)]
        k = max(range(len(widths)), key=widths.__getitem__)
        if not widths[k]:
            return BoxVerdict("fails", boxes, under)
        middle = (under[k] + over[k]) / 2
        waiting += [(under, (*over[:k], middle, *over[k + 1 :])), ((*under[:k], middle, *under[k + 1 :]), over)]
    return BoxVerdict("holds", boxes)


Relation = Literal[">", ">=", "<", "<=", "none"]


def relation(left: Polynomial, right: Polynomial) -> Relation:
    """Return the strongest relation that holds between two polynomials at all points; ">=" if they are equal.

    Raises
    ------
    ParameterError
        If the degree of their difference is larger than 2.
    """
    least = minimum(left - right)
    if least is not None and least.value >= 0:
        return ">" if least.value > 0 else ">="
    most = minimum(right - left)
    if most is not None and most.value >= 0:
        return "<" if most.value > 0 else "<="
    return "none"


class BoundVerdict(NamedTuple):
    """The verdict on a bound: whether it holds everywhere (by a certificate) and is optimal (by a point)."""

    holds: bool
    best: bool
    witness: Point | None


def check_bound(polynomial: Polynomial, bound: Fraction) -> BoundVerdict:
    """Check the claim that a number is the largest constant C with polynomial >= C everywhere.

    Returns
    -------
    BoundVerdict
        `witness` is a point that violates the bound, or a point at which a valid bound is attained.

    Raises
    ------
    ParameterError
        If the degree is larger than 2.
    """
    less = polynomial - Polynomial.constant(polynomial.variables, bound)
    found = nonnegative(less)
    if not isinstance(found, SumOfSquares):
        return BoundVerdict(False, False, found)
    assert found.certifies(less)
    least = minimum(less)
    assert least is not None
    return BoundVerdict(True, least.value == 0, least.point if least.value == 0 else None)
