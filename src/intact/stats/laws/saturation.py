"""The saturation point of TTSPM, beyond which more samples hardly help (Wang et al. 2025, arXiv 2505.20522).

With N parallel samples, the probability of a right one is `1 - (1 - p)^N`. N rounds of rethinking have the same form,
with p the probability that a round fixes a wrong answer. Relative to the reachable accuracy,

    F(N) = F_max (1 - (1 - p)^N),        F(N + 1) - F(N) = F_max p (1 - p)^N,

so the next sample gains at most epsilon once N reaches `N* = ceil(ln(epsilon / (F_max p)) / ln(1 - p))`. The model
assumes that all solvable problems are equally hard; otherwise see `intact.stats.laws.population`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from intact._base.errors import ParameterError
from intact.stats.checks import Floats, finite, table
from intact.stats.intervals import Interval
from intact.stats.laws.least_squares import fitted


class Saturation(NamedTuple):
    """A model of an accuracy curve: its limit, and the success probability of one sample.

    Attributes
    ----------
    f_max
        The limit of accuracy.
    p
        Probability that a sample solves a solvable problem.
    error
        Root mean square of a fit's residuals; 0 for a model that was not fitted.
    """

    f_max: float
    p: float
    error: float = 0.0

    def accuracy(self, n: ArrayLike) -> Floats:
        """Return F(N)."""
        return np.asarray(self.f_max * (1 - (1 - self.p) ** np.asarray(n, np.float64)))

    def point(self, epsilon: float = 0.001) -> int:
        """Return N*, the smallest N after which another sample gains at most epsilon.

        Raises
        ------
        ParameterError
            If epsilon is not above 0, or f_max or p is not in (0, 1].
        """
        if not (0 < self.f_max <= 1 and 0 < self.p <= 1):
            raise ParameterError(f"F_max and p must lie in (0, 1], got {self.f_max} and {self.p}")
        if not epsilon > 0:
            raise ParameterError(f"epsilon must be positive, got {epsilon}")
        gain = self.f_max * self.p
        if gain <= epsilon:
            return 0
        return math.ceil(math.log(epsilon / gain) / math.log1p(-self.p)) if self.p < 1 else 1


def fit_saturation(n: ArrayLike, accuracy: ArrayLike) -> Saturation:
    """Fit the model by least squares to accuracies at several numbers of samples, such as majority@k.

    Raises
    ------
    ParameterError
        If there are fewer than three numbers, an accuracy is outside [0, 1], accuracy does not grow, or no fit is
        found.
    """
    numbers, shares = finite(n, "numbers of samples", 3), finite(accuracy, "accuracies", 3)
    if numbers.size != shares.size or np.unique(numbers).size < 3 or numbers.min() <= 0:
        raise ParameterError(
            "a model with two parameters needs accuracies at three or more different numbers of samples"
        )
    if shares.min() < 0 or shares.max() > 1:
        raise ParameterError(f"accuracies must lie in [0, 1], got {shares.min():g} to {shares.max():g}")
    if shares[numbers.argmax()] <= shares[numbers.argmin()]:
        raise ParameterError(
            f"accuracy does not grow from {numbers.min():g} to {numbers.max():g} samples, so more samples gain nothing"
        )

    def law(n: Floats, f_max: float, log_miss: float) -> Floats:
        return np.asarray(-f_max * np.expm1(-n * log_miss))

    first = min(max(float(shares[numbers.argmin()] / shares.max() / numbers.min()), 1e-6), 0.99)
    start = (min(float(shares.max()), 0.999), -math.log1p(-first))
    f_max, log_miss = fitted(law, numbers, shares, start, bounds=((0, 1e-9), (1, 40)))
    model = Saturation(f_max, -math.expm1(-log_miss))
    return model._replace(error=float(np.sqrt(np.mean((model.accuracy(numbers) - shares) ** 2))))


class SaturationInterval(NamedTuple):
    """A fitted model with 95% intervals from bootstrapping problems.

    Attributes
    ----------
    model : Saturation
    most : int
        Largest number of samples observed.
    f_max, p : Interval
    point : Interval
        N*, the smallest number of samples after which another one gains at most epsilon.
    seen : float
        Accuracy observed at `most`.
    last_doubling : Interval
        Gain observed from half of `most`, or the next smaller number, to `most`.
    next_doubling : Interval
        Gain predicted by the model from `most` to twice as many.
    failed : int
        Number of resamples without a fit, mostly because accuracy did not grow; these are ignored.
    """

    model: Saturation
    most: int
    f_max: Interval
    p: Interval
    point: Interval
    seen: float
    last_doubling: Interval
    next_doubling: Interval
    failed: int


def saturation_interval(
    n: ArrayLike, values: ArrayLike, epsilon: float = 0.001, *, resamples: int = 200, seed: int = 0
) -> SaturationInterval:
    """Fit the model to the mean of the problems' curves, with percentile intervals over problems.

    Parameters
    ----------
    n : array
        Numbers of samples, ascending.
    values : array, problems x numbers
        Curve of each problem, such as pass@k or majority@k.

    Raises
    ------
    ParameterError
        As for `fit_saturation`, or if there are fewer than two problems.
    """
    numbers, curves = finite(n, "numbers of samples", 3), table(values, "accuracies")
    if curves.ndim != 2 or curves.shape[1] != numbers.size or curves.shape[0] < 2:
        raise ParameterError(
            f"at least two problems are needed, with {numbers.size} accuracies each, got shape {curves.shape}"
        )
    most = int(numbers[-1])
    half = int(np.flatnonzero(numbers <= max(most / 2, numbers[0]))[-1])

    def figures(mean: Floats) -> tuple[Saturation, tuple[float, ...]]:
        model = fit_saturation(numbers, mean)
        foretold = float(model.accuracy(2 * most) - model.accuracy(most))
        return model, (model.f_max, model.p, model.point(epsilon), float(mean[-1] - mean[half]), foretold)

    model, own = figures(curves.mean(axis=0))
    rng = np.random.default_rng(seed)
    others, failed = [], 0
    for _ in range(resamples):
        try:
            others.append(figures(curves[rng.integers(0, len(curves), len(curves))].mean(axis=0))[1])
        except ParameterError:
            failed += 1
    if len(others) < resamples / 2:
        raise ParameterError("in most resamples accuracy does not grow with the number of samples")
    low, high = np.quantile(others, (0.025, 0.975), axis=0, method="inverted_cdf")
    f_max, p, point, last, foretold = (Interval(*map(float, one)) for one in zip(own, low, high, strict=True))
    return SaturationInterval(
        model,
        most,
        f_max,
        p,
        point=point,
        seen=float(curves[:, -1].mean()),
        last_doubling=last,
        next_doubling=foretold,
        failed=failed,
    )
