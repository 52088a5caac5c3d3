"""Elementary functions and sums whose bits are the same on every machine.

A C library's `exp` and `log` may differ in the last bit from one machine to the next, and so may the order of a
vectorised sum: enough to turn a choice. Here the functions are those of `decimal`, correctly rounded to 40 digits and
then to a double, and sums are exact before they are rounded once. What is left, + - * / and the square root, IEEE 754
fixes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Context, Decimal
from fractions import Fraction

from intact.errors import ParameterError

Number = int | float | Fraction

_CONTEXT = Context(prec=40, traps=[])


def exp(x: float) -> float:
    """e^x."""
    return float(_CONTEXT.exp(Decimal(x)))


def ln(x: float) -> float:
    """The natural logarithm: -inf of 0, nan of what lies below."""
    return float(_CONTEXT.ln(Decimal(x)))


def power(x: float, y: float) -> float:
    """x^y for x >= 0, and 1 for y = 0."""
    return float(_CONTEXT.power(Decimal(x), Decimal(y))) if y else 1.0


def total(xs: Iterable[float]) -> float:
    """The sum, rounded once, whatever the order."""
    return math.fsum(xs)


def mean(xs: Iterable[float]) -> float:
    """The sum over the number of terms, of which there is at least one."""
    terms = list(xs)
    return total(terms) / len(terms)


def rational(x: Number, name: str = "a weight") -> Fraction:
    """The rational number that x is: a double is a fraction over a power of two.

    Raises
    ------
    ParameterError
        If x is infinite or not a number.
    """
    if isinstance(x, float) and not math.isfinite(x):
        raise ParameterError(f"{name} must be finite, got {x!r}")
    return Fraction(x)


def written(x: Number, name: str) -> Fraction:
    """The rational number that somebody wrote: of a double, the shortest decimal that means it, so that 0.1 is 1/10.

    Raises
    ------
    ParameterError
        If x is infinite or not a number.
    """
    return Fraction(str(float(x))) if isinstance(x, float) and math.isfinite(x) else rational(x, name)


def weight(x: Number, name: str = "a weight") -> Fraction:
    """The rational number that x >= 0 is.

    Raises
    ------
    ParameterError
        If x is negative, infinite or not a number.
    """
    exact = rational(x, name)
    if exact < 0:
        raise ParameterError(f"{name} must be at least 0, got {x!r}")
    return exact
