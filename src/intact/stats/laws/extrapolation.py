"""Extrapolate coverage, with intervals, to larger numbers of samples than were drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from intact._base.errors import ParameterError
from intact.stats.checks import Floats, inside, whole
from intact.stats.intervals import Interval
from intact.stats.laws import curve, kumaraswamy, population
from intact.stats.laws.curve import Curve
from intact.stats.laws.population import FAMILIES, Population
from intact.stats.laws.sample import Counts, cautions, sample

CURVE = "curve"


class Extrapolation(NamedTuple):
    """Extrapolated coverage.

    Attributes
    ----------
    law : Curve or Population
        The chosen law, fitted to all problems.
    k : array
        Numbers of samples.
    coverage, low, high : array
        The law's coverage at each k, with bounds.
    exponent : Interval
        Exponent of the power law followed by the missing coverage.
    chosen : mapping
        Number of resamples in which each law was chosen.
    cautions : tuple of str
        Reasons to doubt the result.
    """

    law: Curve | Population
    k: Floats
    coverage: Floats
    low: Floats
    high: Floats
    exponent: Interval
    chosen: Mapping[str, int]
    cautions: tuple[str, ...]


def extrapolate(
    n: ArrayLike,
    c: ArrayLike,
    k: ArrayLike = 10_000,
    laws: Sequence[str] = FAMILIES,
    *,
    level: float = 0.95,
    resamples: int = 200,
    seed: int = 0,
) -> Extrapolation:
    """Fit laws, choose the one with the lowest AIC, and return its coverage with a bootstrap interval over problems.

    Laws are fitted and chosen again in each resample, so the (percentile) interval includes the uncertainty of the
    choice. It does not include the possibility that every law is wrong, so compare laws.

    Parameters
    ----------
    n, c : array of int
        Numbers of samples and of correct samples for each problem.
    k : int or array of int
    laws : sequence of str
        Names from `intact.stats.laws.population.FAMILIES`, or only "curve", which has no likelihood to compare.
    resamples : int
        At least 20.

    Raises
    ------
    ParameterError
        If counts are degenerate, k is not a whole number above 0, or laws are unknown.
    """
    times = np.atleast_1d(whole(k, "k")).astype(np.float64)
    if times.min() < 1:
        raise ParameterError(f"k must be at least 1, got {times.min():g}")
    if not laws or (CURVE in laws and len(laws) > 1):
        raise ParameterError(f'laws must be among {", ".join(FAMILIES)}, or only "{CURVE}", got {list(laws)}')
    if resamples < 20:
        raise ParameterError(f"resamples must be at least 20, got {resamples}")
    counted = sample(n, c)
    fit = _Fit(counted, laws)
    law = fit(counted)
    rng = np.random.default_rng(seed)
    coverages, exponents, chosen = [], [], Counter[str]()
    for _ in range(resamples):
        drawn = counted.resampled(rng)
        if drawn.fault:  # rare if a law fits all problems
            continue
        try:
            again = fit(drawn)
        except ParameterError:  # no curve fits if coverage does not grow
            continue
        coverages.append(again.pass_at_k(times))
        exponents.append(again.exponent)
        chosen[getattr(again, "family", CURVE)] += 1
    if len(coverages) < 0.9 * resamples:
        raise ParameterError(f"{resamples - len(coverages)} of {resamples} resamples of the problems are degenerate")
    tail = (1 - inside(level, "the level")) / 2
    low, high = np.quantile(coverages, [tail, 1 - tail], axis=0)
    bounds = np.quantile(exponents, [tail, 1 - tail])
    doubts = cautions(n, c)
    if isinstance(law, Population) and law.at_bound:
        doubts += (f"a shape ran to its bound (a = {law.a:g}, b = {law.b:g}): problems hardly differ beyond chance",)
    return Extrapolation(
        law,
        times,
        law.pass_at_k(times),
        low,
        high=high,
        exponent=Interval(law.exponent, float(bounds[0]), float(bounds[1])),
        chosen=dict(chosen),
        cautions=doubts,
    )


class _Fit:
    """Fits laws to resamples of the same problems, using tables computed once."""

    def __init__(self, counted: Counts, laws: Sequence[str]) -> None:
        self.laws = laws
        self.points = curve.points(counted) if CURVE in laws else None
        needs_grid = any(law.endswith("kumaraswamy") for law in laws)
        self.grid = kumaraswamy.grid(counted.n, counted.c) if needs_grid else None
        self.starts: dict[str, Population] = {}

    def __call__(self, counted: Counts) -> Curve | Population:
        if self.points is not None:
            return curve.fit_sample(counted, self.points)
        found = [
            population.fit_sample(
                counted, law, self.starts.get(law), self.grid if law.endswith("kumaraswamy") else None
            )
            for law in self.laws
        ]
        for fitted in found:  # the first fit is of all problems; resamples start from it
            self.starts.setdefault(fitted.family, fitted)
        return min(found, key=lambda fitted: fitted.aic)
