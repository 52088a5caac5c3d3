"""Pass@k and related metrics: the success of k samples per problem, given n samples of which c are correct.

All are means over all subsets of k samples, hence unbiased. They are computed as exact fractions of binomial
coefficients and rounded once, so the bits are the same everywhere, and pass@1 is exactly c / n.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import overload

import numpy as np
from numpy.typing import ArrayLike

from intact._base.errors import ParameterError
from intact._base.exact import written
from intact.stats.checks import Floats, counts, whole

comb = cache(math.comb)


@overload
def pass_at_k(n: int, c: int, k: int) -> float: ...
@overload
def pass_at_k(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> Floats: ...
def pass_at_k(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> Floats | float:
    """Return the probability that any of k samples is correct, `1 - C(n - c, k) / C(n, k)`.

    Its mean over problems is the benchmark's pass@k, also called coverage (Chen et al. 2021, arXiv 2107.03374).

    Parameters
    ----------
    n, c, k : int or array of int
        Numbers of samples, of correct samples, and of samples drawn; broadcast against each other.

    Returns
    -------
    float or array
        One value for each problem.

    Raises
    ------
    ParameterError
        If k > n, c > n, or a value is not a whole number; the message names the problem.
    """
    return _each(lambda n, c, k: Fraction(comb(n, k) - math.comb(n - c, k), comb(n, k)), n, c, k)


@overload
def pass_hat_k(n: int, c: int, k: int) -> float: ...
@overload
def pass_hat_k(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> Floats: ...
def pass_hat_k(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> Floats | float:
    """Return the probability that all k samples are correct, pass^k = `C(c, k) / C(n, k)`.

    Source: Yao et al. 2024, arXiv 2406.12045. Parameters, result and errors are as for `pass_at_k`.
    """
    return _each(lambda n, c, k: Fraction(math.comb(c, k), comb(n, k)), n, c, k)


def g_pass_at_k(n: ArrayLike, c: ArrayLike, k: ArrayLike, tau: float | Fraction) -> Floats | float:
    """Return the probability that at least a share tau of k samples is correct (Liu et al. 2024, arXiv 2412.13147).

    G-Pass@k_tau is `sum over j >= ceil(tau k) of C(c, j) C(n - c, k - j) / C(n, k)`. A float tau means its decimal
    notation: 0.1 of 30 is 3, not the 4 that binary rounding would give.

    Parameters
    ----------
    n, c, k : int or array of int
        As for `pass_at_k`.
    tau : float or Fraction
        In (0, 1]: 1 gives pass^k, and anything up to 1 / k gives pass@k.

    Raises
    ------
    ParameterError
        As for `pass_at_k`, or if tau is not in (0, 1].
    """
    if not 0 < tau <= 1:
        raise ParameterError(f"tau must lie in (0, 1], got {tau}")
    share = written(tau, "tau")
    return _each(lambda n, c, k: _at_least(n, c, k, math.ceil(share * k)), n, c, k)


def mean_g_pass_at_k(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> Floats | float:
    """Return mG-Pass@k, `2/k sum_{i = ceil(k/2) + 1}^k G-Pass@k_{i/k}`: the mean over tau from one half to 1.

    Parameters, result and errors are as for `pass_at_k`, but k must be at least 2.
    """
    if (whole(k, "k") < 2).any():
        raise ParameterError("k must be at least 2 for a mean over shares")

    def mean(n: int, c: int, k: int) -> Fraction:
        return Fraction(2, k) * sum(_at_least(n, c, k, i) for i in range((k + 1) // 2 + 1, k + 1))

    return _each(mean, n, c, k)


def _at_least(n: int, c: int, k: int, least: int) -> Fraction:
    """Return the probability of at least `least` correct samples among k."""
    ways = sum(math.comb(c, j) * math.comb(n - c, k - j) for j in range(least, min(c, k) + 1))
    return Fraction(ways, comb(n, k))


def _each(formula: Callable[[int, int, int], Fraction], n: ArrayLike, c: ArrayLike, k: ArrayLike) -> Floats | float:
    """Evaluate a formula for each problem, but only once for equal arguments."""
    samples, right = counts(n, c)
    samples, right, draws = np.broadcast_arrays(samples, right, whole(k, "k"))
    if (draws < 1).any():
        raise ParameterError(f"k must be at least 1, got {draws.min()}")
    many = draws > samples
    if many.any():
        place = tuple(np.argwhere(many)[0])
        where = f" for problem {place[-1]}" if place else ""
        raise ParameterError(f"k = {draws[place]} samples cannot be drawn from n = {samples[place]}{where}")
    triples, inverse = np.unique(np.stack([samples, right, draws]).reshape(3, -1), axis=1, return_inverse=True)
    values = np.array([float(formula(*triple)) for triple in triples.T.tolist()])
    return values[inverse].reshape(samples.shape)[()]
