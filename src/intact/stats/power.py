"""Sample sizes: the number of problems that a comparison of two methods needs, and the power of a given number.

`level` is the chance of finding a difference where there is none, `power` that of finding one that exists.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.stats.checks import Floats, inside, library

Ints = NDArray[np.int64]


class Discordance(NamedTuple):
    """The chances that a problem is right by the first method alone, and by the second alone."""

    only_first: float
    only_second: float

    @classmethod
    def of(cls, first: float, second: float, correlation: float = 0.0) -> Discordance:
        """Return the chances for two accuracies and the correlation of being right.

        Raises
        ------
        ParameterError
            If an accuracy does not lie between 0 and 1, or the two cannot be correlated so.
        """
        p, q = inside(first, "an accuracy"), inside(second, "an accuracy")
        both = p * q + correlation * math.sqrt(p * (1 - p) * q * (1 - q))
        if not max(0.0, p + q - 1) - 1e-12 <= both <= min(p, q) + 1e-12:
            raise ParameterError(f"accuracies of {p} and {q} cannot have a correlation of {correlation}")
        return cls(max(0.0, p - both), max(0.0, q - both))


PairedTest: TypeAlias = Literal["exact", "mid", "normal"]
"""Forms of McNemar's test: the exact one, which reports print; by mid-p values; by the normal distribution."""
_TAIL = 1e-12
"""The chance of counts of discordant problems that are left out."""


def paired_problems(
    chances: Discordance, *, power: float = 0.8, level: float = 0.05, test: PairedTest = "exact"
) -> int:
    """Return the number of problems that McNemar's test needs, both methods on the same ones.

    The power of an exact test is no smooth function of the number: it falls a little now and then as that grows. The
    result is the least number that has the power.

    Parameters
    ----------
    test : {"exact", "mid", "normal"}
        As of `paired_power`. "normal": `(z_{1 - level/2} sqrt(s) + z_power sqrt(s - d^2))^2 / d^2` with s the chances'
        sum and d their difference (Connor 1987); the exact test needs more.

    Raises
    ------
    ParameterError
        If the chances are invalid, or equal: then no number suffices.
    """
    one, two, s, d = _quantiles(level, power) + _moments(chances)
    about = math.ceil((one * math.sqrt(s) + two * math.sqrt(s - d * d)) ** 2 / (d * d))
    if test == "normal":
        return about
    low, high = about // 2, about
    while paired_power(chances, max(1, high), level=level, test=test) < power:
        low, high = high, high + max(8, high // 8)
    return next(n for n in range(max(1, low), high + 1) if paired_power(chances, n, level=level, test=test) >= power)


def paired_power(chances: Discordance, problems: int, *, level: float = 0.05, test: PairedTest = "exact") -> float:
    """Return the power of McNemar's test on a number of problems.

    Parameters
    ----------
    test : {"exact", "mid", "normal"}
        "exact" and "mid": the chance that the p-value, or mid-p value, of `intact.stats.mcnemar` is at most the level,
        summed over all outcomes: of N problems m are right by one method alone, binomial with the chances' sum s, and
        of these X by the first, binomial with p_1 / s. "normal": by Connor's approximation (1987), the inverse of
        `paired_problems`.

    Raises
    ------
    ParameterError
        If the chances are invalid or equal, there is no problem, or no such test.
    """
    stats = library("scipy.stats")
    if problems < 1:
        raise ParameterError(f"there must be at least one problem, got {problems}")
    if test not in get_args(PairedTest):
        raise ParameterError(f"test must be one of {', '.join(get_args(PairedTest))}, got {test!r}")
    one, _, s, d = _quantiles(level, 0.5) + _moments(chances)
    if test == "normal":
        ahead = math.sqrt(problems) * abs(d) - one * math.sqrt(s)
        spread = math.sqrt(s - d * d)  # none if one method is right just where the other is wrong
        return float(stats.norm.cdf(ahead / spread)) if spread else float(ahead >= 0)
    low, high = stats.binom.ppf(_TAIL, problems, s), stats.binom.isf(_TAIL, problems, s)
    counts = np.arange(max(0, int(low)), min(problems, int(high)) + 1)
    fewest = _rejected(counts, level, test == "mid")
    share = chances.only_first / s
    rejected = np.where(
        fewest < 0, 0.0, stats.binom.cdf(fewest, counts, share) + stats.binom.sf(counts - fewest - 1, counts, share)
    )
    return float(stats.binom.pmf(counts, problems, s) @ np.minimum(rejected, 1.0))


def smallest_difference(
    discordant: float, problems: int, *, power: float = 0.8, level: float = 0.05, test: PairedTest = "exact"
) -> float:
    """Return the smallest difference of two accuracies that McNemar's test finds on a number of problems.

    A difference d needs at least a share d of problems on which one method alone is right. So the chances taken for d
    are those with the difference d and the sum `max(discordant, d)`.

    Parameters
    ----------
    discordant : float
        The share of problems on which one method alone is right, as seen or expected, in [0, 1].

    Returns
    -------
    float
        A difference in (0, 1], to four decimals, rounded up; `inf` where so few problems cannot tell even a method
        that is always right from one that never is.

    Raises
    ------
    ParameterError
        If the share is not one, there is no problem, or no such test.
    """
    if not 0 <= discordant <= 1:
        raise ParameterError(f"the share of discordant problems must lie in [0, 1], got {discordant}")

    def found(d: float) -> bool:
        s = max(discordant, d)
        first = (s + d) / 2
        return paired_power(Discordance(first, s - first), problems, level=level, test=test) >= power

    if not found(1.0):
        return math.inf
    low, high = 0, 10_000
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if found(middle / 10_000) else (middle, high)
    return high / 10_000


def _rejected(counts: Ints, level: float, mid: bool) -> Ints:
    """Return for each number of discordant problems the largest count of the rarer kind that is rejected; -1: none."""
    binom = library("scipy.stats").binom
    fewest = binom.ppf(level / 2, counts, 0.5).astype(np.int64) + 1  # one that is too much; then down

    def p(fewer: Ints) -> Floats:
        known = np.maximum(fewer, 0)
        seen = binom.pmf(known, counts, 0.5)
        return np.asarray(np.minimum(1.0, 2 * binom.cdf(known, counts, 0.5)) - (seen if mid else 0.0))

    fewest = np.where(counts > 0, np.minimum(fewest, counts // 2), -1)
    while ((fewest >= 0) & (p(fewest) > level * (1 + 1e-12))).any():
        fewest = np.where((fewest >= 0) & (p(fewest) > level * (1 + 1e-12)), fewest - 1, fewest)
    return fewest


def unpaired_problems(first: float, second: float, *, power: float = 0.8, level: float = 0.05) -> int:
    """Return the number of problems that each of two methods needs, on different ones, by statsmodels' test.

    Raises
    ------
    ParameterError
        If a share does not lie between 0 and 1, or the two are equal.
    """
    proportion = library("statsmodels.stats.proportion")
    p, q = inside(first, "an accuracy"), inside(second, "an accuracy")
    if p == q:
        raise ParameterError(f"both accuracies are {p}: no number of problems tells them apart")
    found = proportion.samplesize_proportions_2indep_onetail(
        p - q, q, inside(power, "the power"), alpha=inside(level, "the level"), alternative="two-sided"
    )
    return math.ceil(float(found))


def mean_problems(
    difference: float, between: float, within: float = 0.0, samples: int = 1, *, power: float = 0.8, level: float = 0.05
) -> int:
    """Return the number of problems that a paired t-test needs, with several samples of each (Miller 2024).

    The variance of a problem's difference is `between + within / samples` (arXiv 2411.00640); statsmodels solves for
    the number.

    Parameters
    ----------
    difference : float
        Of the mean scores.
    between : float
        The variance over problems of the difference of the two methods' expected scores.
    within : float
        The variance that one sample adds, the sum of the two methods'.
    samples : int
        Of each problem and method; more of them make the second part small, but never the first.

    Raises
    ------
    ParameterError
        If there is no difference or no variance.
    """
    test = library("statsmodels.stats.power").TTestPower()
    variance = between + within / samples if samples >= 1 else math.nan
    if not (difference and math.isfinite(difference) and between >= 0 and within >= 0 and variance > 0):
        raise ParameterError(
            f"a difference other than 0 and a variance above 0 are needed, got {difference} and {between} + {within} / "
            f"{samples}"
        )
    effect = abs(difference) / math.sqrt(variance)
    chances = {"alpha": inside(level, "the level"), "power": inside(power, "the power")}
    if test.power(effect, 2, chances["alpha"]) >= power:
        return 2
    return math.ceil(float(test.solve_power(effect, nobs=None, **chances)))


def _quantiles(level: float, power: float) -> tuple[float, float]:
    norm = library("scipy.stats").norm
    return float(norm.isf(inside(level, "the level") / 2)), float(norm.ppf(inside(power, "the power")))


def _moments(chances: Discordance) -> tuple[float, float]:
    """Return the sum of the two chances, and their difference."""
    first, second = chances
    if not (first >= 0 and second >= 0 and first + second <= 1):
        raise ParameterError(f"chances must be at least 0 and sum to 1 at most, got {first} and {second}")
    if first == second:
        raise ParameterError(
            f"both methods are right alone with chance {first}: no number of problems tells them apart"
        )
    return first + second, first - second
