"""Tests and intervals for the difference between two methods on the same problems.

Problems vary more than methods; taking the difference per problem removes that variance.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from intact._base.errors import ParameterError
from intact._base.exact import root
from intact.stats.checks import inside, library, pairs
from intact.stats.intervals import Interval, bootstrap, two_sided
from intact.stats.quantiles import normal_quantile


class McNemar(NamedTuple):
    """The outcomes of two methods on the same problems.

    Attributes
    ----------
    both, only_first, only_second, neither
        Number of problems with each outcome.
    difference, low, high
        The first method's share of correct answers minus the second's, and its interval.
    exact
        The p-value of the exact test, which is conservative.
    mid
        The mid-p value, whose rate of false rejections is close to the level.
    """

    both: int
    only_first: int
    only_second: int
    neither: int
    difference: float
    low: float
    high: float
    exact: float
    mid: float

    @property
    def interval(self) -> Interval:
        """The difference with its bounds."""
        return Interval(self.difference, self.low, self.high)


def mcnemar(first: ArrayLike, second: ArrayLike, level: float = 0.95) -> McNemar:
    """Run McNemar's test on two methods that are each right or wrong on the same problems.

    Under the null hypothesis, each of the b + c problems that only one method solves goes to either method like a fair
    coin toss. The exact p-value is `min(1, 2 P(X <= min(b, c)))` for X of b + c tosses; the mid-p value counts the
    observed outcome by one half (Fagerland et al. 2013). The interval for the difference is Bonett and Price's (2012),
    with one more problem on either side: `d = (b - c) / (N + 2)`, `d +- z sqrt((p_b + p_c - d^2) / (N + 2))` with p_b =
    (b + 1) / (N + 2). All figures are exact before they are rounded to doubles.

    Parameters
    ----------
    first, second : array of bool, one for each problem

    Raises
    ------
    ParameterError
        If lengths differ, or a value is neither right nor wrong.
    """
    one, other = pairs(first, second, 1)
    for values in (one, other):
        if not np.isin(values, (0, 1)).all():
            raise ParameterError("each problem must be right or wrong; use `paired_bootstrap` for rates")
    n = one.size
    both, b, c = (int(count) for count in (one @ other, one @ (1 - other), (1 - one) @ other))
    fewer, thrown = min(b, c), 1 << b + c
    ways = sum(math.comb(b + c, i) for i in range(fewer + 1))
    exact, mid = Fraction(2 * ways, thrown), Fraction(2 * ways - math.comb(b + c, fewer), thrown)
    z = Fraction(normal_quantile(two_sided(inside(level, "the level"))))
    d, p = Fraction(b - c, n + 2), Fraction(b + c + 2, n + 2)
    half = z * root((p - d * d) / (n + 2))
    low, high = max(-1.0, float(d - half)), min(1.0, float(d + half))
    return McNemar(
        both,
        b,
        c,
        n - both - b - c,
        difference=(b - c) / n,
        low=low,
        high=high,
        exact=min(1.0, float(exact)),
        mid=min(1.0, float(mid)),
    )


def paired_bootstrap(
    first: ArrayLike,
    second: ArrayLike,
    *,
    method: Literal["bca", "percentile"] = "bca",
    level: float = 0.95,
    resamples: int = 9999,
    seed: int = 0,
) -> Interval:
    """Return the bootstrap interval for the mean difference over problems.

    Parameters
    ----------
    first, second : array, a number for each problem
        Correctness, or pass@k.

    Raises
    ------
    ParameterError
        As for `intact.stats.intervals.bootstrap`, in particular if all differences are equal.
    """
    one, other = pairs(first, second)
    gaps = one - other
    if (gaps == gaps[0]).all():
        raise ParameterError(
            f"the two methods differ by {gaps[0]:g} on all {gaps.size} problems, so the spread cannot be estimated"
        )
    return bootstrap(gaps, method=method, level=level, resamples=resamples, seed=seed)


class Permutation(NamedTuple):
    """A mean difference, the p-value for the hypothesis that it is zero, and the number of sign assignments tried."""

    difference: float
    p: float
    tried: int


def permutation(first: ArrayLike, second: ArrayLike, *, resamples: int = 9999, seed: int = 0) -> Permutation:
    """Test the hypothesis that exchanging the two methods on each problem makes no difference.

    This is Fisher's randomisation test, by `scipy.stats.permutation_test`: all 2^N exchanges if there are at most
    `resamples`, else that many at random.

    Raises
    ------
    ParameterError
        If there are fewer than two problems, or lengths differ.
    """
    stats = library("scipy.stats")
    one, other = pairs(first, second)
    found = stats.permutation_test(
        (one, other),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, 10_000_000 // one.size),
        rng=np.random.default_rng(seed),
    )
    return Permutation(float((one - other).mean()), float(found.pvalue), len(found.null_distribution))
