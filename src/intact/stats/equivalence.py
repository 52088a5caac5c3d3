"""Test that two methods are equivalent within a margin, which is stronger than finding no difference."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from intact._base.errors import ParameterError
from intact.stats.checks import inside, library, pairs


class Equivalence(NamedTuple):
    """The result of two one-sided tests.

    Attributes
    ----------
    difference
        The first method's mean minus the second's.
    low, high
        Interval of the difference at level 1 - 2 alpha; it is within the margin if and only if the two are equivalent.
    p
        The larger of the two p-values.
    equivalent
        If true, p is at most alpha.
    """

    difference: float
    low: float
    high: float
    p: float
    equivalent: bool


def tost(first: ArrayLike, second: ArrayLike, margin: float, alpha: float = 0.05) -> Equivalence:
    """Run two one-sided t-tests on differences per problem (Schuirmann 1987), using statsmodels.

    The null hypothesis is that the means differ by the margin or more; rejecting it shows equivalence.

    Parameters
    ----------
    first, second : array, a number for each problem
    margin : float
        The largest difference that does not matter, chosen in advance.
    alpha : float
        Probability of declaring methods equivalent if they differ by the margin.

    Raises
    ------
    ParameterError
        If the margin is not above 0, or all differences are equal, so a t-test cannot estimate their spread.
    """
    weightstats, stats = library("statsmodels.stats.weightstats"), library("scipy.stats")
    one, other = pairs(first, second)
    if not (np.isfinite(margin) and margin > 0):
        raise ParameterError(f"the margin must be positive, got {margin}")
    gaps = one - other
    if (gaps == gaps[0]).all():
        raise ParameterError(
            f"the two methods differ by {gaps[0]:g} on all {gaps.size} problems: a t-test cannot estimate the "
            "spread (for methods that are right or wrong, `mcnemar` still gives an interval)"
        )
    p = float(weightstats.ttost_paired(one, other, -margin, margin)[0])
    half = float(stats.t.ppf(1 - inside(alpha, "alpha"), gaps.size - 1) * gaps.std(ddof=1) / gaps.size**0.5)
    mean = float(gaps.mean())
    return Equivalence(mean, mean - half, mean + half, p, equivalent=p <= alpha)
