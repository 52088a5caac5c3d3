"""Exact inference about a proportion: Clopper-Pearson intervals.

All probabilities are sums of fractions; bounds are rounded outwards to multiples of 2^-40, so they have the same bits
everywhere and never lose coverage.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Final

from intact._base.errors import ParameterError
from intact._base.exact import Number, written

BITS: Final = 40
"""Bounds are multiples of 2^-BITS."""


def clopper_pearson(successes: int, trials: int, level: Number = 0.95) -> tuple[float, float]:
    """Return the exact interval of a proportion (Clopper and Pearson 1934); (0, 1) without trials.

    Each tail has at most probability (1 - level) / 2, for any true proportion, so the interval covers it with at least
    probability `level`. The number of trials must not depend on
    their results.

    Raises
    ------
    ParameterError
        If there are more successes than trials, or the level does not lie between 0 and 1.
    """
    tail = (1 - _checked(successes, trials, level)) / 2
    low = _boundary(lambda p: _tail(trials - successes, trials, 1 - p) <= tail) if successes else 0
    high = _boundary(lambda p: _tail(successes, trials, p) > tail) + 1 if successes < trials else 1 << BITS
    return low / (1 << BITS), high / (1 << BITS)


def _checked(successes: int, trials: int, level: Number, name: str = "level") -> Fraction:
    if not 0 <= successes <= trials or not 0 < level < 1:
        raise ParameterError(f"cannot have {successes} successes in {trials} trials at {name} {level}")
    return written(level, f"the {name}")


def _tail(successes: int, trials: int, p: Fraction) -> Fraction:
    """Return the probability of at most a number of successes."""
    if 2 * successes >= trials:  # the other tail has fewer terms
        return 1 - _tail(trials - successes - 1, trials, 1 - p) if successes < trials else Fraction(1)
    units, rest, total = p.numerator, p.denominator - p.numerator, 0
    for k in range(successes + 1):
        total += math.comb(trials, k) * units**k * rest ** (trials - k)
    return Fraction(total, p.denominator**trials)


def _boundary(holds: Callable[[Fraction], bool]) -> int:
    """Return the largest number of units of 2^-BITS for which a condition holds that holds up to some proportion."""
    return _search(0, (1 << BITS) - 1, lambda units: holds(Fraction(units, 1 << BITS)))


def _search(first: int, last: int, holds: Callable[[int], bool]) -> int:
    """Return the last number that satisfies a condition, or `first`; beyond it, no number satisfies it."""
    while first < last:
        middle = (first + last + 1) // 2
        if holds(middle):
            first = middle
        else:
            last = middle - 1
    return first
