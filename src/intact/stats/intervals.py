"""Intervals for measured shares and means.

`wilson` and `clustered`, whose bounds appear in result files, are computed exactly from a correctly rounded quantile
and rounded once: the bits are the same on every machine. The bootstrap is SciPy's, and its last digits are not
reproducible across versions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from intact._base.errors import ParameterError
from intact._base.exact import integers, root, written
from intact.stats.checks import Floats, finite, inside, library, table
from intact.stats.quantiles import normal_quantile, student_quantile

Support: TypeAlias = tuple[float, float]
"""The smallest and largest possible value of a quantity."""
ANY: Final[Support] = (-math.inf, math.inf)
SHARES: Final[Support] = (0.0, 1.0)
"""Shares, probabilities and their squared errors."""
DIFFERENCES: Final[Support] = (-1.0, 1.0)
"""Differences of shares."""
AMOUNTS: Final[Support] = (0.0, math.inf)
"""Non-negative quantities: tokens, seconds, divergences."""


class Interval(NamedTuple):
    """An estimate with the bounds of its interval."""

    estimate: float
    low: float
    high: float

    def within(self, support: Support) -> Interval:
        """Return the interval, clipped to the possible values."""
        least, largest = support
        return Interval(*(min(max(value, least), largest) for value in self))


def wilson(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Return the score interval for a share (Wilson 1927, Probable inference); (0, 1) without trials.

    Trials must be independent: one sample per problem. For several samples, see `clustered`.

    Raises
    ------
    ParameterError
        If there are more successes than trials, or the level is not between 0 and 1.
    """
    if not 0 <= successes <= trials or not 0 < level < 1:
        raise ParameterError(f"{successes} successes in {trials} trials at level {level} are not possible")
    if not trials:
        return 0.0, 1.0
    z = Fraction(normal_quantile(two_sided(level)))
    middle, scale = successes + z * z / 2, trials + z * z
    half = z * root(Fraction(successes * (trials - successes), trials) + z * z / 4)
    low = float((middle - half) / scale) if successes else 0.0
    high = float((middle + half) / scale) if successes < trials else 1.0
    return low, high


def two_sided(level: float) -> Fraction:
    """Return the probability for the upper quantile of a two-sided interval, (1 + level) / 2."""
    return (1 + written(level, "the level")) / 2


def bootstrap(
    values: ArrayLike,
    statistic: Callable[..., Floats] | None = None,
    *,
    method: Literal["bca", "percentile"] = "bca",
    level: float = 0.95,
    resamples: int = 9999,
    seed: int = 0,
) -> Interval:
    """Return the bootstrap interval for a statistic over problems (Efron 1987 for BCa), using `scipy.stats.bootstrap`.

    Problems are resampled, never samples: the interval thus applies to other problems of the same kind.

    Parameters
    ----------
    values : array, a number for each problem
        Such as `pass_at_k(n, c, k)`.
    statistic : callable, optional
        `statistic(array, axis)`; the default is the mean.
    method : {"bca", "percentile"}
        BCa corrects bias and skewness.
    level, resamples, seed
        Equal seeds give equal intervals with the same version of NumPy.

    Raises
    ------
    ParameterError
        If there are fewer than two problems, or all have the same value.
    """
    stats = library("scipy.stats")
    array = finite(values, "values", 2)
    if (array == array[0]).all():
        raise ParameterError(
            f"all {array.size} problems have the value {array[0]:g}: resampling cannot estimate how problems differ "
            "(for a share, `wilson` still gives an interval)"
        )
    if method not in ("bca", "percentile") or resamples < 1:
        raise ParameterError(
            f"method must be bca or percentile, with at least 1 resample, got {method!r} and {resamples}"
        )
    of = np.mean if statistic is None else statistic
    found = stats.bootstrap(
        (array,),
        of,
        method="BCa" if method == "bca" else "percentile",
        confidence_level=inside(level, "the level"),
        n_resamples=resamples,
        rng=np.random.default_rng(seed),
        batch=max(1, 10_000_000 // array.size),
    ).confidence_interval
    if not np.isfinite(found).all():
        raise ParameterError(f"the {method} interval of this statistic is not finite: use percentiles or more problems")
    return Interval(float(of(array, axis=0)), float(found.low), float(found.high))


class Clustered(NamedTuple):
    """The mean of values that come in clusters.

    Attributes
    ----------
    estimate, low, high
        The mean over all values, and its interval.
    error
        Its standard error.
    clusters
        Number of clusters.
    design_effect
        Ratio of the variance to the variance with the same number of independent values; nan if all values are equal.
    """

    estimate: float
    low: float
    high: float
    error: float
    clusters: int
    design_effect: float


def clustered(
    values: ArrayLike, clusters: Sequence[object] | None = None, level: float = 0.95, *, support: Support = ANY
) -> Clustered:
    """Return the mean of clustered values, such as samples of problems, with a cluster-robust standard error.

    `SE^2 = G / (G - 1) sum_g (sum_{i in g} (x_i - mean))^2 / N^2` over G clusters and N values, with Student's quantile
    for G - 1 degrees of freedom (Liang and Zeger 1986; for evaluations Miller 2024, arXiv 2411.00640). This matches
    statsmodels for a regression on a constant with `cov_type="cluster"`.

    Parameters
    ----------
    values : array
        Problems x samples, or a list together with `clusters`.
    clusters : sequence, optional
        The problem, or prompt, that each value belongs to.
    support : tuple of float
        The smallest and largest possible value; the interval is clipped to it.

    Raises
    ------
    ParameterError
        If there are fewer than two clusters, a different number of names than values, or a value is not finite.
    """
    array = table(values, "values")
    if clusters is None:
        if array.ndim != 2:
            raise ParameterError(
                f"a list of values needs the cluster of each value; got an array of shape {array.shape}"
            )
        clusters = np.repeat(np.arange(array.shape[0]), array.shape[1]).tolist()
    array = array.ravel()
    if len(clusters) != array.size:
        raise ParameterError(f"got {array.size} values and {len(clusters)} names of clusters; expected equal numbers")
    numbers = {name: i for i, name in enumerate(dict.fromkeys(clusters))}
    if len(numbers) < 2:
        raise ParameterError("there is only one cluster, so differences between clusters cannot be estimated")
    quantile = Fraction(student_quantile(two_sided(inside(level, "the level")), len(numbers) - 1))
    terms, unit = integers(array.tolist())
    count, whole = len(terms), sum(terms)
    sums = [0] * len(numbers)
    for name, term in zip(clusters, terms, strict=True):
        sums[numbers[name]] += count * term - whole  # a deviation from the mean, times count * unit
    mean = Fraction(whole, count * unit)
    variance = Fraction(len(sums) * sum(one * one for one in sums), (len(sums) - 1) * (count * count * unit) ** 2)
    squares = count * sum(term * term for term in terms) - whole * whole
    effect = float(variance / Fraction(squares, (count - 1) * (count * unit) ** 2)) if squares else math.nan
    half = quantile * root(variance)
    found = Interval(float(mean), float(mean - half), float(mean + half)).within(support)
    return Clustered(*found, float(root(variance)), len(sums), effect)
