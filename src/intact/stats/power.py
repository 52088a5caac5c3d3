"""Sample sizes: the number of problems needed to compare two methods, and the power of a given number.

`level` is the probability of finding a difference that does not exist, `power` the probability of finding one that
does.
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
    """The probabilities that only the first method, or only the second, solves a problem."""

    only_first: float
    only_second: float

    @classmethod
    def of(cls, first: float, second: float, correlation: float = 0.0) -> Discordance:
        """Return the probabilities for two accuracies and the correlation of correctness.

        Raises
        ------
        ParameterError
            If an accuracy is not between 0 and 1, or the two cannot have this correlation.
        """
        p, q = inside(first, "an accuracy"), inside(second, "an accuracy")
        both = p * q + correlation * math.sqrt(p * (1 - p) * q * (1 - q))
        if not max(0.0, p + q - 1) - 1e-12 <= both <= min(p, q) + 1e-12:
            raise ParameterError(f"accuracies of {p} and {q} cannot have a correlation of {correlation}")
        return cls(max(0.0, p - both), max(0.0, q - both))


PairedTest: TypeAlias = Literal["exact", "mid", "normal"]
"""Forms of McNemar's test: exact, as printed in reports; by mid-p values; by the normal approximation."""
_TAIL = 1e-12
"""Neglected probability mass of counts of discordant problems."""


def paired_problems(
    chances: Discordance, *, power: float = 0.8, level: float = 0.05, test: PairedTest = "exact"
) -> int:
    """Return the number of problems that McNemar's test needs, with both methods on the same problems.

    The power of an exact test is not a smooth function of this number: it occasionally decreases slightly as the number
    grows. The result is the smallest number with the required power.

    Parameters
    ----------
    test : {"exact", "mid", "normal"}
        As for `paired_power`. "normal": `(z_{1 - level/2} sqrt(s) + z_power sqrt(s - d^2))^2 / d^2` with s the sum and
        d the difference of the two probabilities (Connor 1987); the exact test needs more.

    Raises
    ------
    ParameterError
        If the probabilities are invalid, or are equal, so no number suffices.
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
    """Return the power of McNemar's test on a given number of problems.

    Parameters
    ----------
    test : {"exact", "mid", "normal"}
        "exact" and "mid": the probability that the p-value, or mid-p value, of `intact.stats.mcnemar` is at most the
        level, summed over all outcomes. Of N problems, m are solved by only one method, binomial with the sum s of the
        two probabilities, and X of these by the first, binomial with p_1 / s. "normal": by Connor's approximation
        (1987), the inverse of `paired_problems`.

    Raises
    ------
    ParameterError
        If the probabilities are invalid or equal, there are no problems, or the test is unknown.
    """
    stats = library("scipy.stats")
    if problems < 1:
        raise ParameterError(f"problems must be at least 1, got {problems}")
    if test not in get_args(PairedTest):
        raise ParameterError(f"test must be one of {', '.join(get_args(PairedTest))}, got {test!r}")
    one, _, s, d = _quantiles(level, 0.5) + _moments(chances)
    if test == "normal":
        ahead = math.sqrt(problems) * abs(d) - one * math.sqrt(s)
        spread = math.sqrt(s - d * d)  # 0 if one method solves everything, the other nothing
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
    """Return the smallest difference between two accuracies that McNemar's test can detect on a number of problems.

    A difference d requires that only one method solves at least a share d of the problems. The probabilities assumed
    for d therefore have the difference d and the sum `max(discordant, d)`.

    Parameters
    ----------
    discordant : float
        Observed or expected share of problems that only one method solves, in [0, 1].

    Returns
    -------
    float
        A difference in (0, 1], rounded up to four decimals; `inf` if there are too few problems to distinguish a method
        that is always right from one that never is.

    Raises
    ------
    ParameterError
        If the share is not in [0, 1], there are no problems, or the test is unknown.
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
    """For each number of discordant problems, return the largest rejected count of the rarer kind, or -1 for none."""
    binom = library("scipy.stats").binom
    fewest = binom.ppf(level / 2, counts, 0.5).astype(np.int64) + 1  # one too many; then down

    def p(fewer: Ints) -> Floats:
        known = np.maximum(fewer, 0)
        seen = binom.pmf(known, counts, 0.5)
        return np.asarray(np.minimum(1.0, 2 * binom.cdf(known, counts, 0.5)) - (seen if mid else 0.0))

    fewest = np.where(counts > 0, np.minimum(fewest, counts // 2), -1)
    while ((fewest >= 0) & (p(fewest) > level * (1 + 1e-12))).any():
        fewest = np.where((fewest >= 0) & (p(fewest) > level * (1 + 1e-12)), fewest - 1, fewest)
    return fewest


def unpaired_problems(first: float, second: float, *, power: float = 0.8, level: float = 0.05) -> int:
    """Return the number of problems needed per method, on different problems for each, by statsmodels' test.

    Raises
    ------
    ParameterError
        If a share is not between 0 and 1, or the two are equal.
    """
    proportion = library("statsmodels.stats.proportion")
    p, q = inside(first, "an accuracy"), inside(second, "an accuracy")
    if p == q:
        raise ParameterError(f"both accuracies are {p}, so no number of problems can tell them apart")
    found = proportion.samplesize_proportions_2indep_onetail(
        p - q, q, inside(power, "the power"), alpha=inside(level, "the level"), alternative="two-sided"
    )
    return math.ceil(float(found))


def mean_problems(
    difference: float, between: float, within: float = 0.0, samples: int = 1, *, power: float = 0.8, level: float = 0.05
) -> int:
    """Return the number of problems that a paired t-test needs, with several samples per problem (Miller 2024).

    The variance of a problem's difference is `between + within / samples` (arXiv 2411.00640); statsmodels solves for
    the number.

    Parameters
    ----------
    difference : float
        Difference between the mean scores.
    between : float
        Variance over problems of the difference between the two methods' expected scores.
    within : float
        Variance added by one sample, summed over the two methods.
    samples : int
        Number of samples per problem and method; more samples reduce only the second term.

    Raises
    ------
    ParameterError
        If the difference is 0 or not finite, or the variance is not above 0.
    """
    test = library("statsmodels.stats.power").TTestPower()
    variance = between + within / samples if samples >= 1 else math.nan
    if not (difference and math.isfinite(difference) and between >= 0 and within >= 0 and variance > 0):
        raise ParameterError(
            "the difference must be finite and not 0, and the variance must be positive, got "
            f"{difference} and {between} + {within} / {samples}"
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
    """Return the sum and the difference of the two probabilities."""
    first, second = chances
    if not (first >= 0 and second >= 0 and first + second <= 1):
        raise ParameterError(f"probabilities must be at least 0 and sum to at most 1, got {first} and {second}")
    if first == second:
        raise ParameterError(
            f"each method is the only right one with probability {first}, so no number of problems can tell them apart"
        )
    return first + second, first - second
