"""Whether two methods are as good as each other, within a margin: not the same as finding no difference."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from intact.errors import ParameterError
from intact.stats.checks import inside, need, pairs


class Equivalence(NamedTuple):
    """The outcome of two one-sided tests.

    Attributes
    ----------
    difference
        The first's mean minus the second's.
    low, high
        Its interval at level 1 - 2 alpha: within the margin just where the two are equivalent.
    p
        The larger of the two p-values.
    equivalent
        Whether p is at most alpha.
    """

    difference: float
    low: float
    high: float
    p: float
    equivalent: bool


def tost(first: ArrayLike, second: ArrayLike, margin: float, alpha: float = 0.05) -> Equivalence:
    """Two one-sided t-tests on differences problem by problem (Schuirmann 1987), by statsmodels.

    The null hypothesis is that the means differ by the margin or more; rejecting it shows that they are equivalent.

    Parameters
    ----------
    first, second : array, a number for each problem
    margin : float
        The largest difference that does not matter, chosen beforehand.
    alpha : float
        The chance to call two equivalent that differ by the margin.

    Raises
    ------
    ParameterError
        If the margin is not above 0, or all differences are equal: then the t-test has no spread to go by.
    """
    need("statsmodels")
    from scipy import stats
    from statsmodels.stats.weightstats import ttost_paired

    one, other = pairs(first, second)
    if not (np.isfinite(margin) and margin > 0):
        raise ParameterError(f"the margin must be a number above 0, got {margin}")
    gaps = one - other
    if (gaps == gaps[0]).all():
        raise ParameterError(
            f"the two differ by {gaps[0]:g} on each of {gaps.size} problems: a t-test has no spread to go by (of "
            "methods that are right or wrong, `mcnemar` gives an interval still)"
        )
    p = float(ttost_paired(one, other, -margin, margin)[0])
    half = float(stats.t.ppf(1 - inside(alpha, "alpha"), gaps.size - 1) * gaps.std(ddof=1) / gaps.size**0.5)
    mean = float(gaps.mean())
    return Equivalence(mean, mean - half, mean + half, p, p <= alpha)
