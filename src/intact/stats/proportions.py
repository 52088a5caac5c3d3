"""Exact inference about a proportion: Clopper-Pearson intervals, and evidence that is valid at any time.

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
    """Return the exact interval for a proportion (Clopper and Pearson 1934); (0, 1) without trials.

    Each tail has probability at most (1 - level) / 2 for any true proportion, so the interval covers it with
    probability at least `level`. The number of trials must not depend on their results; otherwise, use
    `anytime_interval`.

    Raises
    ------
    ParameterError
        If there are more successes than trials, or the level is not between 0 and 1.
    """
    tail = (1 - _checked(successes, trials, level)) / 2
    low = _boundary(lambda p: _tail(trials - successes, trials, 1 - p) <= tail) if successes else 0
    high = _boundary(lambda p: _tail(successes, trials, p) > tail) + 1 if successes < trials else 1 << BITS
    return low / (1 << BITS), high / (1 << BITS)


def anytime_interval(successes: int, trials: int, level: Number = 0.95) -> tuple[float, float]:
    """Return an interval for a proportion that may be computed after every trial and used to decide when to stop.

    With probability `level`, it covers the true proportion at all times simultaneously (Robbins 1970; Ville's
    inequality for the mixture of likelihood ratios over a uniform prior): the proportions p for which 1 / ((n + 1) C(n,
    s) p^s (1 - p)^(n - s)) < 1 / (1 - level). It is wider than `clopper_pearson`.

    Raises
    ------
    ParameterError
        As for `clopper_pearson`.
    """
    alpha = 1 - _checked(successes, trials, level)
    if not trials:
        return 0.0, 1.0
    weight = (trials + 1) * math.comb(trials, successes)
    one = 1 << BITS
    # weight p^s (1 - p)^(n - s) > alpha, in integers; it rises up to s / n, and falls after
    limit = alpha * (1 << BITS * trials)

    def inside(units: int) -> bool:
        return bool(weight * units**successes * (one - units) ** (trials - successes) > limit)

    peak = one * successes // trials
    low = _search(0, peak, lambda units: not inside(units)) if successes else 0
    high = _search(min(one - 1, peak + 1), one - 1, inside) + 1 if successes < trials else one
    return low / one, high / one


def e_values(successes: int, trials: int, tolerance: Number) -> tuple[float, float]:
    """Return the evidence that a proportion is above a tolerance, and the evidence that it is below.

    An e-value is a bet against a hypothesis: if the proportion is at most `tolerance`, the first has mean at most 1 at
    any time, so it ever reaches 20 with probability at most 1/20; likewise the second if the proportion is at least
    `tolerance` (Ramdas et al. 2023, arXiv 2210.01948). Bets are spread uniformly over all proportions.

    Raises
    ------
    ParameterError
        As for `clopper_pearson`; the tolerance must be between 0 and 1.
    """
    _checked(successes, trials, tolerance, "tolerance")
    at, share = written(tolerance, "the tolerance"), Fraction(successes, trials or 1)
    stake = (trials + 1) * math.comb(trials, successes)

    def against(p: Fraction) -> float:
        return _as_float(1 / (stake * p**successes * (1 - p) ** (trials - successes)))

    return against(min(share, at)), against(max(share, at))


def detectable(trials: int, power: Number = 0.8) -> float:
    """Return the smallest proportion for which `trials` trials show at least one success with this power.

    1 - (1 - power)^(1 / trials), rounded up to a multiple of 2^-40; 1 without trials.

    Raises
    ------
    ParameterError
        If the power is not between 0 and 1.
    """
    missed = 1 - _checked(0, trials, power, "power")
    return 1.0 if not trials else (_boundary(lambda p: (1 - p) ** trials > missed) + 1) / (1 << BITS)


def _checked(successes: int, trials: int, level: Number, name: str = "level") -> Fraction:
    if not 0 <= successes <= trials or not 0 < level < 1:
        raise ParameterError(f"cannot have {successes} successes in {trials} trials at {name} {level}")
    return written(level, f"the {name}")


def _tail(successes: int, trials: int, p: Fraction) -> Fraction:
    """Return the probability of at most `successes`."""
    if 2 * successes >= trials:  # the other tail has fewer terms
        return 1 - _tail(trials - successes - 1, trials, 1 - p) if successes < trials else Fraction(1)
    units, rest, total = p.numerator, p.denominator - p.numerator, 0
    for k in range(successes + 1):
        total += math.comb(trials, k) * units**k * rest ** (trials - k)
    return Fraction(total, p.denominator**trials)


def _boundary(holds: Callable[[Fraction], bool]) -> int:
    """Return the largest proportion that satisfies a monotone condition, in units of 2^-BITS."""
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


def _as_float(x: Fraction) -> float:
    try:
        return float(x)
    except OverflowError:
        return math.inf
