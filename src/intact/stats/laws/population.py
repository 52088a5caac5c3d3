"""Populations of problems: distributions of pass@1, which predict the tail of coverage better than the curve.

If the density of pass@1 is about `C p^(a - 1)` near 0, then `-log pass@k` is about `C Gamma(a) k^-a` for large k
(Schaeffer et al. 2025, arXiv 2502.17578): the exponent of the power law is the shape of the left tail.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from intact._base.errors import ParameterError
from intact.stats.checks import Floats, library
from intact.stats.laws import kumaraswamy
from intact.stats.laws.sample import Counts, sample

ZERO_INFLATED = "zero-inflated "
FAMILIES = ("beta", "kumaraswamy", ZERO_INFLATED + "beta", ZERO_INFLATED + "kumaraswamy")
SHAPES = (1e-3, 1e4)
"""Bounds of both shape parameters."""
PRECISION = {"ftol": 1e-13, "maxiter": 500}


class Population(NamedTuple):
    """A fitted distribution of pass@1.

    Attributes
    ----------
    family : str
        One of `FAMILIES`.
    a, b : float
        Shape parameters: the density behaves as `p^(a - 1)` at 0 and `(1 - p)^(b - 1)` at 1.
    never : float
        Share of problems whose rate is 0, which no number of samples solves.
    log_likelihood : float
        Log-likelihood of the counts.
    """

    family: str
    a: float
    b: float
    never: float
    log_likelihood: float

    @property
    def aic(self) -> float:
        """Akaike's information criterion: lower is better."""
        return 2 * (3 if self.family.startswith(ZERO_INFLATED) else 2) - 2 * self.log_likelihood

    @property
    def exponent(self) -> float:
        """The exponent of the power law followed by the missing coverage (beyond `never`)."""
        return self.a

    @property
    def at_bound(self) -> bool:
        """If true, a shape reached its bound, for example because problems differ only by chance."""
        least, most = SHAPES
        return not (1.01 * least < self.a < most / 1.01 and 1.01 * least < self.b < most / 1.01)

    def pass_at_k(self, k: ArrayLike) -> Floats:
        """Return the probability that any of k samples of a new problem is correct."""
        betaln = library("scipy.special").betaln
        times = np.asarray(k, np.float64)
        if not (np.isfinite(times) & (times >= 1)).all():
            raise ParameterError(f"k must be at least 1 and finite, got {times}")
        if self.family.endswith("kumaraswamy"):
            fails = kumaraswamy.fails(self.a, self.b, times)
        else:
            fails = np.exp(betaln(self.a, self.b + times) - betaln(self.a, self.b))
        return np.asarray((1 - self.never) * (1 - fails))


def fit_population(n: ArrayLike, c: ArrayLike, family: str = "beta") -> Population:
    """Fit a family to counts by maximum likelihood.

    c of n is binomial given the problem's rate. For Beta the mixture is exact,
    `C(n, c) B(a + c, b + n - c) / B(a, b)`; for Kumaraswamy, `a b p^(a - 1) (1 - p^a)^(b - 1)`, it is computed by
    quadrature. The zero-inflated families add problems that are never solved.

    Parameters
    ----------
    n, c : array of int
        Numbers of samples and of correct samples for each problem.
    family : str
        One of `FAMILIES`.

    Raises
    ------
    ParameterError
        If all samples are wrong, or all correct, or each problem has only one; or the family is unknown.
    """
    return fit_sample(sample(n, c), family)


def fit_best(n: ArrayLike, c: ArrayLike, families: Iterable[str] = FAMILIES) -> Population:
    """Fit several families and return the one with the lowest `aic`; ties go to the first.

    Raises
    ------
    ParameterError
        As for `fit_population`.
    """
    counted = sample(n, c)
    return min((fit_sample(counted, family) for family in families), key=lambda found: found.aic)


def fit_sample(
    counted: Counts, family: str, start: Population | None = None, grid: kumaraswamy.Grid | None = None
) -> Population:
    """Fit a family to counts, starting from an earlier fit and with a given quadrature grid, if any."""
    if family not in FAMILIES:
        raise ParameterError(f"family must be one of {', '.join(FAMILIES)}, got {family!r}")
    if counted.fault:
        raise ParameterError(counted.fault)
    minimize, gammaln = library("scipy.optimize").minimize, library("scipy.special").gammaln
    n, c, weight = counted.n, counted.c, counted.weight / counted.weight.sum()
    choose = gammaln(n + 1) - gammaln(c + 1) - gammaln(n - c + 1)
    if family.endswith("kumaraswamy") and grid is None:
        grid = kumaraswamy.grid(n, c)

    def loss(parameters: Floats) -> tuple[float, Floats]:
        """Return the negative log-likelihood per problem and its gradient in log a, log b and, if inflated, never."""
        shapes = np.exp(parameters[:2])
        logs, slopes = _beta(counted, *shapes) if grid is None else _kumaraswamy(grid, *shapes)
        logs, slopes = logs + choose, slopes * shapes
        if len(parameters) > 2:
            never, ever = math.log(max(parameters[2], 1e-300)), math.log1p(-parameters[2])
            mixed = np.where(c == 0, np.logaddexp(never, ever + logs), ever + logs)
            by_never = np.where(c == 0, np.exp(np.minimum(-mixed, 600)), 0) - np.exp(logs - mixed)
            slopes = np.column_stack([slopes * np.exp(ever + logs - mixed)[:, None], by_never])
            logs = mixed
        return -float(weight @ logs), -weight @ slopes

    unsolved = float(weight[c == 0].sum())
    first = [(start.a, start.b)] if start else [_moments(counted)]
    bounds: list[tuple[float, float]] = [(math.log(SHAPES[0]), math.log(SHAPES[1]))] * 2
    starts: list[list[float]] = [[math.log(a), math.log(b)] for a, b in first]
    if family.startswith(ZERO_INFLATED):
        bounds.append((0.0, min(unsolved + 1e-6, 1 - 1e-6)))
        shares = [start.never] if start and start.never else [0.1 * unsolved, 0.9 * unsolved]
        starts = [[*shapes, share] for shapes in starts for share in shares]
    found = min(
        (minimize(loss, begin, jac=True, method="SLSQP", bounds=bounds, options=PRECISION) for begin in starts),
        key=lambda result: float(result.fun),
    )
    a, b, *rest = found.x
    return Population(
        family,
        math.exp(a),
        math.exp(b),
        float(rest[0]) if rest else 0.0,
        log_likelihood=-float(found.fun) * counted.size,
    )


def _beta(counted: Counts, a: float, b: float) -> tuple[Floats, Floats]:
    """Return log-probabilities of counts without the binomial coefficient, and their derivatives in a and b."""
    betaln, psi = library("scipy.special").betaln, library("scipy.special").psi
    right, wrong = a + counted.c, b + counted.n - counted.c
    both = psi(a + b) - psi(right + wrong)
    return betaln(right, wrong) - betaln(a, b), np.stack([psi(right) - psi(a) + both, psi(wrong) - psi(b) + both], 1)


def _kumaraswamy(grid: kumaraswamy.Grid, a: float, b: float) -> tuple[Floats, Floats]:
    """Return the same as `_beta`, by quadrature."""
    found = kumaraswamy.chances(grid, a, b)
    rate = np.maximum(found[:, 0], 1e-300)
    return np.log(rate), found[:, 1:] / rate[:, None]


def _moments(counted: Counts) -> tuple[float, float]:
    """Return the shapes of a Beta distribution with approximately the mean and variance of the rates."""
    rates, weight = counted.c / counted.n, counted.weight / counted.weight.sum()
    mean = float(np.clip(rates @ weight, 0.01, 0.99))
    spread = float((rates - mean) ** 2 @ weight)
    size = float(np.clip(mean * (1 - mean) / max(spread, 1e-9) - 1, 0.1, 50))
    return mean * size, (1 - mean) * size
