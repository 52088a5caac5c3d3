"""Quantiles of the normal distribution and of Student's t: the nearest double, the same on every machine.

The distribution function is a series of positive terms, summed in 60-digit decimals; a quantile is found by bisection,
first among all doubles, then between two neighbours. No library is used, because libraries give only 9 to 16 correct
digits, which change between versions.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from functools import cache

from intact._base.errors import ParameterError
from intact._base.exact import Number, written

_CONTEXT = Context(prec=60, traps=[])
_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803")
_SMALLEST = Decimal("1e-58")
"""Size of a term, relative to the sum so far, at which a series ends."""
_EQUAL = Decimal("1e-45")
"""Probabilities this close count as equal; for neighbouring doubles, they differ by more than 1e-42."""
_LEAST = Fraction(1, 10**25)


def normal_quantile(p: Number) -> float:
    """Return the double nearest to the p-quantile of the standard normal distribution.

    Parameters
    ----------
    p : number between 1e-25 and 1 - 1e-25
        A float means its shortest decimal, so 0.975 is 975/1000.

    Raises
    ------
    ParameterError
        If p is not between these bounds.
    """
    return _normal_quantile(_inside(p))


def student_quantile(p: Number, freedom: int) -> float:
    """Return the double nearest to the p-quantile of Student's t distribution with `freedom` degrees of freedom.

    Raises
    ------
    ParameterError
        If p is not between 1e-25 and 1 - 1e-25, or there are no degrees of freedom.
    """
    if freedom < 1:
        raise ParameterError(f"degrees of freedom must be at least 1, got {freedom}")
    return _student_quantile(_inside(p), freedom)


@cache
def _normal_quantile(p: Fraction) -> float:
    return _quantile(p, _normal)


@cache
def _student_quantile(p: Fraction, freedom: int) -> float:
    beta = _beta(freedom)
    return _quantile(p, lambda x: _student(x, freedom, beta))


def _inside(p: Number) -> Fraction:
    chance = written(p, "a probability")
    if not _LEAST <= chance <= 1 - _LEAST:
        raise ParameterError(f"a probability must lie between 1e-25 and 1 - 1e-25, got {p}")
    return chance


def _quantile(p: Fraction, within: Callable[[Decimal], Decimal]) -> float:
    """Return the double nearest to x with `within(x) = P(-x < X < x) = 2 p - 1`, for a symmetric distribution."""
    if p < Fraction(1, 2):
        return -_quantile(1 - p, within)
    if p == Fraction(1, 2):
        return 0.0
    with localcontext(_CONTEXT):
        wanted = 2 * p - 1
        chance = Decimal(wanted.numerator) / Decimal(wanted.denominator)

        def side(x: Decimal) -> int:
            """Return 1 above the quantile, -1 below it, 0 at it."""
            gap = within(x) - chance
            return 0 if abs(gap) < _EQUAL else 1 if gap > 0 else -1

        low, high = 0, _order(1.0)
        while side(Decimal(_double(high))) < 0:
            low, high = high, high + (1 << 52)  # twice as far
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if side(Decimal(_double(middle))) >= 0 else (middle, high)
        below, above = _double(low), _double(high)
        # exact: the midpoint of two neighbours has 54 bits
        return above if side(Decimal(below) + (Decimal(above) - Decimal(below)) / 2) < 0 else below


def _order(x: float) -> int:
    """Return the ordinal of a double >= 0 among all doubles."""
    return int(struct.unpack("<q", struct.pack("<d", x))[0])


def _double(place: int) -> float:
    return float(struct.unpack("<d", struct.pack("<q", place))[0])


def _normal(x: Decimal) -> Decimal:
    """P(-x < Z < x) = sqrt(2 / pi) e^(-x^2 / 2) (x + x^3 / 3 + x^5 / (3 5) + ...)."""
    square = x * x
    return (2 / _PI).sqrt() * (-square / 2).exp() * x * _series(lambda n: square / (2 * n + 3))


def _student(x: Decimal, freedom: int, beta: Decimal) -> Decimal:
    """P(-x < T < x) = I_y(1/2, nu/2) = 1 - I_(1-y)(nu/2, 1/2) with y = x^2 / (nu + x^2), whichever converges faster.

    `I_y(a, b) = y^a (1 - y)^b / (a B(a, b)) (1 + sum_n prod_(i <= n) (a + b + i) / (a + 1 + i) y)`.
    """
    square = x * x
    inner, outer = square / (freedom + square), freedom / (freedom + square)
    factor = inner.sqrt() * (outer.ln() * freedom / 2).exp() / beta
    if inner <= outer:
        return 2 * factor * _series(lambda n: (freedom + 1 + 2 * n) * inner / (3 + 2 * n))
    return 1 - 2 * factor / freedom * _series(lambda n: (freedom + 1 + 2 * n) * outer / (freedom + 2 + 2 * n))


def _series(ratio: Callable[[int], Decimal]) -> Decimal:
    """Sum 1 and the following terms, given the ratios of successive terms.

    The ratios are positive, eventually decreasing, and below 3/4.
    """
    total, term, n = Decimal(1), Decimal(1), 0
    while True:
        step = ratio(n)
        term *= step
        total += term
        n += 1
        if step < Decimal("0.75") and term < _SMALLEST * total:
            return total


def _beta(freedom: int) -> Decimal:
    """B(1/2, nu/2): 4^m / (m C(2m, m)) for nu = 2m, pi C(2m, m) / 4^m for nu = 2m + 1."""
    m, odd = divmod(freedom, 2)
    with localcontext(_CONTEXT):
        share = Decimal((math.comb(2 * m, m) << 250) >> 2 * m) / (1 << 250)  # C(2m, m) / 4^m
        return _PI * share if odd else 1 / (m * share)
