"""Slopes and effect sizes that relate a property of samples, such as their length, to their correctness.

The samples of one problem form a cluster; standard errors are those of Liang and Zeger (1986), over problems. Effects
measured `within` problems cannot arise merely because easy problems have short completions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from intact._base.errors import ParameterError
from intact.stats.checks import Floats, finite
from intact.stats.intervals import ANY, DIFFERENCES, Interval, Support, two_sided, wilson
from intact.stats.quantiles import student_quantile


class Slope(NamedTuple):
    """A slope with its interval.

    Attributes
    ----------
    estimate, low, high
        The change of y per unit of x.
    error
        Its standard error, robust to clusters.
    clusters
        Number of clusters.
    mixed
        Number of clusters in which y varies; the interval within clusters has one degree of freedom fewer than that.
    """

    estimate: float
    low: float
    high: float
    error: float
    clusters: int
    mixed: int


def slope(
    x: ArrayLike, y: ArrayLike, clusters: Sequence[object], *, within: bool = False, level: float = 0.95
) -> Slope:
    """Return the least-squares slope of y on x, pooled or with a constant for each cluster (fixed effects).

    With `x' = x - mean` (within: minus the cluster's mean), `b = sum x' y / sum x'^2`. With residuals e,
    `SE^2 = G / (G - 1) (N - 1) / (N - 2) sum_g (sum_{i in g} x'_i e_i)^2 / (sum x'^2)^2`, as estimated by Stata and
    statsmodels for clusters; the cluster constants are not counted as parameters (Cameron and Miller 2015, section
    III.B). The quantile is Student's with G - 1 degrees of freedom. Within clusters, this G counts only the clusters in
    which y varies, since the others do not affect the sign.

    Raises
    ------
    ParameterError
        If there are fewer than two clusters (within: in which y varies), or x does not vary.
    """
    xs, ys = finite(x, "x", 3), finite(y, "y", 3)
    if not xs.size == ys.size == len(clusters):
        raise ParameterError(
            f"got {xs.size} values of x, {ys.size} of y and {len(clusters)} names of clusters; expected equal numbers"
        )
    groups = _numbered(clusters)
    count = int(groups.max()) + 1
    mixed = int((_largest(ys, groups, count) > -_largest(-ys, groups, count)).sum())
    if (mixed if within else count) < 2:
        raise ParameterError(
            f"a slope needs at least two clusters{' in which y varies' if within else ''}, got {mixed}"
        )
    if within:
        sizes = np.bincount(groups)
        centred, residual = (one - (np.bincount(groups, one) / sizes)[groups] for one in (xs, ys))
    else:
        centred, residual = xs - xs.mean(), ys - ys.mean()
    spread = float(centred @ centred)
    if spread <= 1e-12 * max(1.0, float(xs @ xs)):
        raise ParameterError("x does not vary" + " within clusters" * within)
    estimate = float(centred @ residual) / spread
    sums = np.bincount(groups, centred * (residual - estimate * centred))
    factor = count / (count - 1) * (xs.size - 1) / (xs.size - 2)
    error = float(np.sqrt(factor * (sums @ sums))) / spread
    half = student_quantile(two_sided(level), (mixed if within else count) - 1) * error
    return Slope(estimate, estimate - half, estimate + half, error, clusters=count, mixed=mixed)


def ratio_of_sums(
    numerators: ArrayLike, denominators: ArrayLike, level: float = 0.95, *, support: Support = ANY
) -> Interval:
    """Return the ratio of two sums over problems, by linearisation: `SE^2 = G / (G - 1) sum (u - r v)^2 / (sum v)^2`.

    Use it for shares of samples, if problems have different numbers of them, or for shares of pairs of samples (Cochran
    1977, section 6.4). Problems with a denominator of 0 are ignored. The interval is clipped to `support`, the possible
    values.

    Raises
    ------
    ParameterError
        If fewer than two problems have a positive denominator.
    """
    above, below = finite(numerators, "numerators"), finite(denominators, "denominators")
    if above.size != below.size or below.min() < 0:
        raise ParameterError(f"each numerator needs a denominator of at least 0, got {above.size} and {below.size}")
    above, below = above[below > 0], below[below > 0]
    if below.size < 2:
        raise ParameterError(f"a ratio over problems needs at least two of them, got {below.size}")
    ratio = float(above.sum() / below.sum())
    rest = above - ratio * below
    error = float(np.sqrt(below.size / (below.size - 1) * (rest @ rest))) / float(below.sum())
    half = float(Fraction(student_quantile(two_sided(level), below.size - 1))) * error
    return Interval(ratio, ratio - half, ratio + half).within(support)


def share_of_samples(marked: ArrayLike, samples: ArrayLike, level: float = 0.95) -> Interval:
    """Return the share p of marked samples, with Wilson's interval for the effective number of samples.

    With the half width h of `ratio_of_sums` over problems and `a = h^2 / (p (1 - p))`, the bounds are
    `(p + a / 2 +- sqrt(h^2 + a^2 / 4)) / (1 + a)`: Wilson's interval, whose a is z^2 / n (Dean and Pagano 2015 for
    surveys). For small shares, its coverage is better than that of p +- h. If none or all are marked, h is 0, and the
    interval is Wilson's for the number of problems, as if all samples of a problem were identical.

    Raises
    ------
    ParameterError
        If more samples are marked than exist, or fewer than two problems have samples.
    """
    above, below = finite(marked, "marked samples"), finite(samples, "samples")
    if above.size == below.size and (above.min() < 0 or (above > below).any()):
        raise ParameterError("the number of marked samples of a problem must lie between 0 and its number of samples")
    share, low, high = ratio_of_sums(above, below, level)
    half = (high - low) / 2
    if share in (0, 1) or not half:
        problems = int((below > 0).sum())
        return Interval(share, *wilson(round(share * problems), problems, level))
    ratio = half**2 / (share * (1 - share))
    width = math.sqrt(half**2 + ratio**2 / 4)
    return Interval(share, (share + ratio / 2 - width) / (1 + ratio), (share + ratio / 2 + width) / (1 + ratio))


def cliffs_delta(values: ArrayLike, right: ArrayLike, clusters: Sequence[object], level: float = 0.95) -> Interval:
    """Return Cliff's delta between correct and wrong samples, over pairs of samples of the same problem.

    P(the correct one has more) - P(it has less), or 2 AUROC - 1 (Cliff 1993): 1 if correct samples always have more, 0
    without an effect. The interval is that of `ratio_of_sums`, clipped to [-1, 1].

    Raises
    ------
    ParameterError
        If fewer than two clusters have both correct and wrong samples.
    """
    numbers, truths = finite(values, "values"), finite(right, "truths")
    if not numbers.size == truths.size == len(clusters):
        raise ParameterError(
            f"got {numbers.size} values, {truths.size} truths, {len(clusters)} names of clusters; expected equal counts"
        )
    groups = _numbered(clusters)
    wins, pairs = [], []
    for group in range(int(groups.max()) + 1):
        own, good = numbers[groups == group], truths[groups == group] > 0
        signs = np.sign(own[good][:, None] - own[~good][None, :])
        wins.append(float(signs.sum()))
        pairs.append(float(signs.size))
    return ratio_of_sums(wins, pairs, level, support=DIFFERENCES)


def _numbered(clusters: Sequence[object]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    numbers = {name: i for i, name in enumerate(dict.fromkeys(clusters))}
    return np.array([numbers[name] for name in clusters], np.int64)


def _largest(values: Floats, groups: np.ndarray[tuple[int], np.dtype[np.int64]], count: int) -> Floats:
    found = np.full(count, -np.inf)
    np.maximum.at(found, groups, values)
    return found
