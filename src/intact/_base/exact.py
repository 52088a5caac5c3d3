"""Elementary functions, roots and sums with the same bits on every machine.

The last bit of a C library's `exp` or `log` may differ between machines, and so may the order of a vectorised sum (even
Python's own `sum` of floats changed in 3.12); such a difference is enough to change a choice. Here, functions are
computed in integers to at least 40 digits and rounded once to the nearest double; sums and means are exact until they
are rounded once. The remaining operations, + - * / and the square root, are fixed by IEEE 754.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from decimal import Context, Decimal
from fractions import Fraction
from functools import cache

from intact._base.errors import ParameterError

Number = int | float | Fraction

_CONTEXT = Context(prec=40, traps=[])
_BITS = 200
"""Number of fraction bits in fixed point: a logarithm near 1 loses 53 of them."""
_ONE = 1 << _BITS
_EXP_STEP, _LN_STEP = 7, 6
"""Table sizes: e^(j 2^-7), and logarithms of the reciprocals that bring a number within 2^-5 of 1."""
_LN_BITS = 9  # of those reciprocals


@cache
def _tables() -> tuple[int, list[int], list[int], list[int]]:
    """Return ln 2; e^(j 2^-7) for j up to 88; reciprocals of (j + 1/2) 2^-6 in units of 2^-9, and their logarithms."""
    context = Context(prec=80, traps=[])

    def units(value: Decimal) -> int:
        return int((context.multiply(value, Decimal(_ONE))).to_integral_value())

    powers = [units(context.exp(Decimal(j) / (1 << _EXP_STEP))) for j in range(1 << _EXP_STEP)]
    places = [(1 << _LN_STEP) * k for k in (1, 2)]
    near = 1 << _LN_STEP
    # numbers near 1 are not scaled, so that their logarithms lose no precision
    reciprocals = [
        1 << _LN_BITS if j in (near - 1, near) else round(Fraction(1 << _LN_STEP + _LN_BITS + 1, 2 * j + 1))
        for j in range(places[1])
    ]
    logarithms = [units(context.ln(Decimal(c) / (1 << _LN_BITS))) for c in reciprocals]
    return units(context.ln(Decimal(2))), powers, reciprocals, logarithms


def exp(x: float) -> float:
    """Return e^x, rounded once."""
    if not -746 < x < 710:
        return math.nan if x != x else math.inf if x > 0 else 0.0
    ln2, powers, *_ = _tables()
    numerator, denominator = x.as_integer_ratio()
    whole, rest = divmod((numerator << _BITS) // denominator, ln2)
    j = rest >> _BITS - _EXP_STEP
    rest -= j << _BITS - _EXP_STEP
    series = _ONE
    for i in range(18, 0, -1):  # rest < 2^-7: the next term is below 2^-180
        series = _ONE + (series * rest >> _BITS) // i
    value = series * powers[j] >> _BITS
    if whole <= _BITS:
        return value / (1 << _BITS - whole)
    try:
        return float(value << whole - _BITS)
    except OverflowError:
        return math.inf


def ln(x: float) -> float:
    """Return the natural logarithm, rounded once: -inf for 0, nan below."""
    if not 0 < x < math.inf:
        return -math.inf if x == 0 else math.inf if x > 0 else math.nan
    ln2, _, reciprocals, logarithms = _tables()
    numerator, denominator = x.as_integer_ratio()
    power = numerator.bit_length() - denominator.bit_length()
    shift = _BITS - power
    value = (numerator << shift if shift > 0 else numerator >> -shift) // denominator  # between 1/2 and 2
    if 4 * value < 3 * _ONE:
        value, power = 2 * value, power - 1
    j = value >> _BITS - _LN_STEP
    rest = (value * reciprocals[j] >> _LN_BITS) - _ONE
    s = (rest << _BITS) // (2 * _ONE + rest)
    square, term, series = s * s >> _BITS, s, s
    for i in range(3, 33, 2):  # s < 2^-6: the next term is below 2^-190
        term = term * square >> _BITS
        series += term // i
    return (power * ln2 + 2 * series - logarithms[j]) / _ONE


def power(x: float, y: float) -> float:
    """Return x^y for x >= 0, and 1 for y = 0."""
    return float(_CONTEXT.power(Decimal(x), Decimal(y))) if y else 1.0


def gamma(x: float) -> float:
    """Return the gamma function of x >= 1, rounded once: Stirling's series at x + 40 or more, then divided down."""
    context = _CONTEXT
    z, divisor = Decimal(x), Decimal(1)
    while z < 40:
        divisor, z = context.multiply(divisor, z), context.add(z, Decimal(1))
    square, power, series = context.multiply(z, z), z, Decimal(0)
    for k, bernoulli in enumerate(_bernoulli(20), 1):
        term = context.divide(Decimal(bernoulli.numerator), Decimal(bernoulli.denominator * 2 * k * (2 * k - 1)))
        series, power = context.add(series, context.divide(term, power)), context.multiply(power, square)
    leading = context.multiply(context.subtract(z, Decimal("0.5")), context.ln(z))
    logarithm = context.add(context.subtract(leading, z), context.add(_HALF_LN_2PI, series))
    return float(context.divide(context.exp(logarithm), divisor))


_HALF_LN_2PI = Decimal("0.91893853320467274178032973640561763986139747363778")


@cache
def _bernoulli(count: int) -> list[Fraction]:
    """Return the Bernoulli numbers B_2, B_4, ..., B_(2 count)."""
    numbers = [Fraction(1)]
    for m in range(1, 2 * count + 1):
        numbers.append(-sum((math.comb(m + 1, j) * numbers[j] for j in range(m)), Fraction(0)) / (m + 1))
    return numbers[2::2]


def total(xs: Iterable[float]) -> float:
    """Return the sum, rounded once; it does not depend on the order."""
    return math.fsum(xs)


def mean(xs: Iterable[float]) -> float:
    """Return the sum, rounded once, divided by the number of terms, which must be at least one."""
    terms = list(xs)
    return total(terms) / len(terms)


def integers(xs: Iterable[float]) -> tuple[list[int], int]:
    """Return finite doubles as integers over a common power-of-two denominator, for exact sums."""
    ratios = [float(x).as_integer_ratio() for x in xs]
    denominator = max([d for _, d in ratios], default=1)
    return [n * (denominator // d) for n, d in ratios], denominator


def root(x: Fraction) -> Fraction:
    """Return the square root of x >= 0 to at least 200 bits, rounded down; exact if the root fits in these bits."""
    shift = max(0, 200 + x.denominator.bit_length() - x.numerator.bit_length() // 2)
    return Fraction(math.isqrt((x.numerator << 2 * shift) // x.denominator), 1 << shift)


def significant(x: float, digits: int) -> float:
    """Return the double nearest to x rounded to the given number of significant digits, half to even; 0 has no sign."""
    return float(f"{x:.{digits - 1}e}") + 0.0


def rational(x: Number, name: str = "a weight") -> Fraction:
    """Return the exact rational value of x; a double is a fraction over a power of two.

    Raises
    ------
    ParameterError
        If x is infinite or not a number.
    """
    if isinstance(x, float) and not math.isfinite(x):
        raise ParameterError(f"{name} must be finite, got {x!r}")
    return Fraction(x)


def written(x: Number, name: str) -> Fraction:
    """Return the rational number as a person would write it: a double as its shortest decimal, so 0.1 is 1/10.

    Raises
    ------
    ParameterError
        If x is infinite or not a number.
    """
    return Fraction(str(float(x))) if isinstance(x, float) and math.isfinite(x) else rational(x, name)


def weight(x: Number, name: str = "a weight") -> Fraction:
    """Return the exact rational value of x >= 0.

    Raises
    ------
    ParameterError
        If x is negative, infinite or not a number.
    """
    exact = rational(x, name)
    if exact < 0:
        raise ParameterError(f"{name} must be at least 0, got {x!r}")
    return exact


def ranking(rewards: Sequence[float | None]) -> list[int]:
    """Return the samples from best to worst, with ties in sample order; samples without a reward are omitted.

    Raises
    ------
    ParameterError
        If a reward is not a number.
    """
    known = {i: reward for i, reward in enumerate(rewards) if reward is not None}
    for i, reward in known.items():
        if math.isnan(reward):
            raise ParameterError(f"the reward of sample {i} is not a number")
    return sorted(known, key=lambda i: (-known[i], i))
