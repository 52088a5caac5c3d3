"""The accuracy reachable by resampling until a checker accepts, from judged samples (arXiv 2411.17501, fLaws).

The formulas are those of `intact.stats.laws.verifier`. A problem's rate is the share of correct ones among its samples.
With few samples, the spread of rates is overestimated, and problems that no sample solved count as hopeless. For rates
distributed as beta(2, 2), a completeness of 0.9 and a soundness of 0.8, the ceiling is 3.0 points too low with 8
samples per problem, 1.3 with 16 and 0.3 with 64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from intact._base.errors import ParameterError
from intact.stats.association import ratio_of_sums
from intact.stats.checks import Floats, finite
from intact.stats.intervals import SHARES, Interval, wilson
from intact.stats.laws.verifier import Verifier, best_attempts, ceiling

MOST = 100
"""Maximum number of attempts considered."""


class BestAttempts(NamedTuple):
    """The best number of attempts, with its bounds, if a wrong answer is worth `fluke` and a correct one 1."""

    fluke: float
    attempts: int
    low: int
    high: int
    value: float


class ResamplingLimits(NamedTuple):
    """The limits of resampling with a checker.

    Attributes
    ----------
    completeness, soundness : Interval
        Shares of correct samples that it accepts, and of wrong ones that it rejects; the interval is the wider of
        Wilson's interval and the one over problems.
    precision : float
        Share of correct samples among the accepted ones of all problems: the ceiling if all problems were equally hard.
    ceiling : Interval
        Mean over problems of the share correct after unlimited attempts at each problem's own rate.
    single : float
        Share of correct samples: the accuracy of one attempt without a checker.
    answered, right_of_answered
        Share of problems with an accepted sample, and mean share of correct samples among their accepted ones.
    best : list of BestAttempts
    """

    completeness: Interval
    soundness: Interval
    precision: float
    ceiling: Interval
    single: float
    answered: float
    right_of_answered: float
    best: list[BestAttempts]


def resampling_limits(
    samples: ArrayLike,
    right: ArrayLike,
    accepted_right: ArrayLike,
    accepted_wrong: ArrayLike,
    flukes: Sequence[float] = (-0.5, -1, -2, -4, -8),
    *,
    resamples: int = 200,
    seed: int = 0,
) -> ResamplingLimits:
    """Return the limits of resampling, with 95% intervals from bootstrapping problems (percentiles).

    Parameters
    ----------
    samples, right, accepted_right, accepted_wrong : array, a count for each problem
    flukes : sequence of float
        Values of a wrong answer, if a correct one is worth 1 and no answer 0.

    Raises
    ------
    ParameterError
        If counts are inconsistent, or fewer than two problems have correct samples or fewer than two have wrong ones.
    """
    n, c = finite(samples, "samples", 2), finite(right, "right samples", 2)
    hits, misses = (
        finite(accepted_right, "accepted right samples", 2),
        finite(accepted_wrong, "accepted wrong samples", 2),
    )
    if not n.size == c.size == hits.size == misses.size:
        sizes = n.size, c.size, hits.size, misses.size
        raise ParameterError(f"each problem needs four counts, got {sizes}")
    if (n < 1).any() or (hits > c).any() or (misses > n - c).any() or min(hits.min(), misses.min()) < 0:
        raise ParameterError(
            "there cannot be more accepted samples than samples, and each problem needs at least one sample"
        )
    rates = c / n

    def at(weights: Floats) -> tuple[float, list[tuple[int, float]]]:
        checker = Verifier(float(hits @ weights / (c @ weights)), 1 - float(misses @ weights / ((n - c) @ weights)))
        priors = weights / weights.sum()
        best = [best_attempts(rates, priors, checker, fluke=fluke, most=MOST) for fluke in flukes]
        return ceiling(rates, priors, checker), [(one.attempts, one.value) for one in best]

    completeness = _wider(hits, c)
    rejected = _wider(misses, n - c)
    limit, best = at(np.ones(n.size))
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(n.size, np.full(n.size, 1 / n.size), resamples).astype(np.float64)
    drawn = drawn[(drawn @ c > 0) & (drawn @ (n - c) > 0)]
    others = [at(weights) for weights in drawn]
    bounds = np.quantile([one for one, _ in others], (0.025, 0.975))
    attempts = np.array([[k for k, _ in one] for _, one in others])
    lows, highs = (np.quantile(attempts, q, axis=0, method="inverted_cdf").astype(int) for q in (0.025, 0.975))
    any_accepted = hits + misses > 0
    return ResamplingLimits(
        completeness,
        Interval(1 - rejected.estimate, 1 - rejected.high, 1 - rejected.low),
        float(hits.sum() / max((hits + misses).sum(), 1)),
        Interval(limit, float(bounds[0]), float(bounds[1])),
        single=float(rates.mean()),
        answered=float(any_accepted.mean()),
        right_of_answered=float((hits[any_accepted] / (hits + misses)[any_accepted]).mean())
        if any_accepted.any()
        else 0.0,
        best=[
            BestAttempts(float(fluke), k, int(low), int(high), value=value)
            for fluke, (k, value), low, high in zip(flukes, best, lows, highs, strict=True)
        ],
    )


def _wider(part: Floats, whole: Floats) -> Interval:
    """Return a share of samples with the wider of two intervals: Wilson's and the one over problems."""
    share = ratio_of_sums(part, whole)
    low, high = wilson(int(part.sum()), int(whole.sum()))
    return Interval(share.estimate, min(low, share.low), max(high, share.high)).within(SHARES)
