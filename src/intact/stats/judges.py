"""Inference from a judge's levels, with judges and candidates on a simplex.

Source: Judging LLMs on a Simplex, arXiv 2505.21972. A completion of candidate k has the true level m with probability
pi_km, and a judge assigns level l to a completion of true level m with probability theta_ml: candidates are observed as
`gamma_k = sum_m pi_km theta_m`. With two levels `gamma = theta_0 + pi (theta_1 - theta_0)`, so the observed ranking of
candidates is the true one if the judge is better than chance and the same for all of them. With three or more levels,
it need not be: two judges that both prefer better completions can produce the same numbers for candidates that rank in
opposite orders (see the example in `true_levels`), and no number of judged completions can settle which order is right.
An order then only has a probability, which depends on prior assumptions (`order_chances`). Judging with two levels
avoids this.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from intact._base.errors import ParameterError
from intact._base.exact import Number, written
from intact.stats.checks import Floats, whole

PROPOSALS = 8
"""Number of shares of true levels proposed for each candidate and judge from the prior, and again from the counts."""


class OrderChances(NamedTuple):
    """The probabilities of orders of candidates.

    Attributes
    ----------
    orders : mapping of tuple of int to float
        Posterior probability of each order of candidates, best to worst by true mean level; likeliest first.
    means : array
        Posterior mean of each candidate's true mean level, from 0.
    effective : float
        Effective number of draws, `(sum w)^2 / sum w^2`; errors of probabilities are at most `0.5 / sqrt(effective)`.
    """

    orders: dict[tuple[int, ...], float]
    means: Floats
    effective: float

    def above(self, first: int, second: int) -> float:
        """Return the probability that one candidate is better than another."""
        return math.fsum(p for order, p in self.orders.items() if order.index(first) < order.index(second))


def true_levels(observed: Sequence[Number], judge: Sequence[Sequence[Number]]) -> list[Fraction]:
    """Return the shares of true levels that explain the observed shares for a known judge: pi with `pi theta = gamma`.

    With two levels this is the estimate of Rogan and Gladen (1978). Shares outside [0, 1] mean that, apart from chance,
    no candidate can look like this to that judge.

    Both judges here prefer better completions (each row has more mass on high levels than the one before), and both
    observe A as (.4, .2, .4) and B as (.3, .4, .3). For the first judge, A is better, with a mean level of 8/7 against
    16/21; for the second, B is better, with 26/21 against 6/7:

    >>> one = [[.8, .2, 0], [.1, .5, .4], [.1, .2, .7]]
    >>> other = [[.7, .2, .1], [.4, .5, .1], [0, .2, .8]]
    >>> [str(mean_level(true_levels(seen, judge))) for judge in (one, other) for seen in ([.4, .2, .4], [.3, .4, .3])]
    ['8/7', '16/21', '6/7', '26/21']

    Parameters
    ----------
    observed : sequence of numbers, one for each level
        Shares of the judge's levels, summing to 1; a float means its shortest decimal.
    judge : sequence of rows, one for each true level
        Shares of the judge's levels for completions of that level, summing to 1.

    Raises
    ------
    ParameterError
        If shapes do not match, a share is negative or a sum is not 1, or several candidates look the same to the judge.
    """
    size = len(observed)
    if size < 2 or len(judge) != size or any(len(row) != size for row in judge):
        raise ParameterError(f"a judge of {size} levels needs {size} rows of {size} shares, and at least 2 levels")
    rows = [_shares(row, f"row {place} of the judge") for place, row in enumerate(judge)]
    # eliminate on the transposed system, theta^T pi = gamma
    system = [[row[level] for row in rows] + [value] for level, value in enumerate(_shares(observed, "observed"))]
    for column in range(size):
        pivot = next((place for place in range(column, size) if system[place][column]), None)
        if pivot is None:
            raise ParameterError(
                "the judge's rows are linearly dependent, so it cannot tell different candidates apart"
            )
        system[column], system[pivot] = system[pivot], system[column]
        head = system[column] = [value / system[column][column] for value in system[column]]
        for place in range(size):
            if place != column and (factor := system[place][column]):
                system[place] = [value - factor * one for value, one in zip(system[place], head, strict=True)]
    return [row[-1] for row in system]


def mean_level(shares: Sequence[Fraction]) -> Fraction:
    """Return the mean of levels 0, 1, ... with these shares."""
    return sum((level * share for level, share in enumerate(shares)), Fraction(0))


def order_chances(
    counts: ArrayLike, gold: ArrayLike | None = None, agreement: float = 1.0, draws: int = 5_000, seed: int = 0
) -> OrderChances:
    """Return the probabilities of all orders of candidates, given the counts of a judge's levels for each of them.

    The prior: shares of true levels are uniform on the simplex; row m of the judge is Dirichlet with 1 for each level
    and an additional `agreement` for m itself, restricted to judges that assign better levels to better completions
    (each row dominates the one before). Judges theta are drawn from that prior and the gold labels, by rejection. For
    each, pi is proposed several times, half from its prior and half from the posterior of gamma mapped back. One
    proposal is kept, and the mean of their bounded importance weights is the weight of theta. If the result changes a
    lot with `agreement`, it rests on assumptions rather than on data.

    Parameters
    ----------
    counts : array, candidates x levels
        Number of completions to which the judge assigned each level, from worst to best.
    gold : array, levels x levels, optional
        Number of completions with known true level, by true level (row) and the judge's level (column).
    agreement : float
        Weight, in completions, of the prior that the judge is right.
    draws : int
        Number of draws of theta, before rejection.
    seed : int
        Equal seeds give equal results with the same version of NumPy, to about nine digits.

    Raises
    ------
    ParameterError
        If shapes do not match, a count is negative or missing, there are fewer than two candidates or levels, or no
        draw is consistent with the data.
    """
    table, known = _counts(counts, gold)
    candidates, levels = table.shape
    if not (math.isfinite(agreement) and agreement >= 0) or draws < 1:
        raise ParameterError(f"agreement must be at least 0 and draws at least 1, got {agreement} and {draws}")
    rng = np.random.default_rng(seed)
    judges = _judges(1 + agreement * np.eye(levels) + known, draws, rng)
    determinants = np.abs(np.linalg.det(judges))
    judges, determinants = judges[determinants > 1e-12], determinants[determinants > 1e-12]
    weights = np.ones(len(judges))
    means = np.empty((len(judges), candidates))
    for k, row in enumerate(table):
        kept, weight = _candidate(row, judges, determinants, rng)
        weights *= weight
        means[:, k] = kept @ np.arange(levels)
    total = math.fsum(weights)
    if not total > 0:
        raise ParameterError(
            f"none of {draws} draws agrees with the data: the judge contradicts the prior, or more draws are needed"
        )
    held: dict[tuple[int, ...], list[float]] = {}
    for order, mass in zip(np.argsort(-means, axis=1).tolist(), weights.tolist(), strict=True):
        if mass:
            held.setdefault(tuple(order), []).append(mass)
    chances = {order: math.fsum(masses) / total for order, masses in held.items()}
    ranked = dict(sorted(chances.items(), key=lambda pair: (-pair[1], pair[0])))
    return OrderChances(ranked, weights @ means / total, total**2 / math.fsum(weights * weights))


def _judges(concentrations: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """Draw judges, and keep those that assign better levels to better completions."""
    drawn = np.stack([rng.dirichlet(row, draws) for row in concentrations], axis=1)
    above = np.cumsum(drawn[:, :, ::-1], axis=2)[:, :, ::-1]  # the chance of a level or a better one
    return np.asarray(drawn[(np.diff(above[:, :, 1:], axis=1) >= 0).all(axis=(1, 2))])


def _candidate(counts: Floats, judges: Floats, determinants: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Draw a candidate's shares of true levels for each judge, with the judge's weight.

    Densities are relative to the uniform one. The posterior of gamma under a uniform prior, with density d(gamma), is
    mapped to pi with density `d(gamma) |det theta|`; the target is `d(gamma)` for pi within the simplex.
    """
    draws, levels = len(judges), counts.size
    flat = rng.dirichlet(np.ones(levels), (draws, PROPOSALS))
    mapped = rng.dirichlet(1 + counts, (draws, PROPOSALS)) @ np.linalg.inv(judges)
    shares = np.concatenate([flat, mapped], axis=1)
    possible = np.asarray((shares >= 0).all(axis=2))
    seen = np.where(possible[:, :, None], shares, 1 / levels) @ judges
    constant = math.lgamma(counts.sum() + levels) - sum(math.lgamma(1 + c) for c in counts) - math.lgamma(levels)
    with np.errstate(divide="ignore", invalid="ignore"):
        density = np.exp(constant + np.where(counts > 0, counts * np.log(seen), 0.0).sum(axis=2))
    weights = np.where(possible, density / (0.5 + 0.5 * density * determinants[:, None]), 0.0)
    sums = np.cumsum(weights, axis=1)
    chosen = (sums <= rng.random((draws, 1)) * sums[:, -1:]).sum(axis=1).clip(max=2 * PROPOSALS - 1)
    return shares[np.arange(draws), chosen], sums[:, -1] / (2 * PROPOSALS)


def _counts(counts: ArrayLike, gold: ArrayLike | None) -> tuple[Floats, Floats]:
    """Return two tables: the judge's levels by candidate, and by known true level."""
    table = whole(counts, "counts")
    if table.ndim != 2 or min(table.shape) < 2:
        raise ParameterError(f"counts must have at least two candidates and two levels, got the shape {table.shape}")
    levels = table.shape[1]
    known = np.zeros((levels, levels), np.int64) if gold is None else whole(gold, "gold")
    if known.shape != (levels, levels):
        raise ParameterError(f"counts by gold label must have the shape {levels} x {levels}, got {known.shape}")
    if min(table.min(), known.min()) < 0:
        raise ParameterError(f"counts must be at least 0, got {min(table.min(), known.min())}")
    return table.astype(np.float64), known.astype(np.float64)


def _shares(values: Sequence[Number], name: str) -> list[Fraction]:
    exact = [written(value, name) for value in values]
    if min(exact) < 0 or sum(exact) != 1:
        raise ParameterError(f"shares ({name}) must be at least 0 and sum to 1, got {[str(value) for value in exact]}")
    return exact
