"""Resampling until a verifier accepts: the limits of an imperfect verifier (Stroebl et al. 2024, arXiv 2411.17501).

A sample of a problem with rate r is right with probability r. The verifier accepts a right one with probability c
(completeness) and rejects a wrong one with probability s (soundness). An attempt therefore ends

    right with probability  c r,      a fluke with  (1 - s)(1 - r),      rejected with  beta = (1 - c) r + s (1 - r),

and after N attempts a problem is answered with probability `1 - beta^N`. For any N, the share of right answers among
the accepted ones remains `c r / (c r + (1 - s)(1 - r))`: the ceiling.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from intact._base.errors import ParameterError
from intact.stats.checks import Floats, finite
from intact.stats.intervals import Interval, wilson


class Verifier(NamedTuple):
    """The probabilities that a right answer is accepted, and that a wrong one is rejected."""

    completeness: float = 1.0
    soundness: float = 1.0


PERFECT = Verifier()


class Measured(NamedTuple):
    """A verifier estimated from judged samples."""

    completeness: Interval
    soundness: Interval

    @property
    def verifier(self) -> Verifier:
        """The point estimates."""
        return Verifier(self.completeness.estimate, self.soundness.estimate)


class Reach(NamedTuple):
    """The results of a number of attempts.

    Attributes
    ----------
    right, fluke : array
        Shares of problems answered right and wrong, by number of attempts; the rest are unanswered.
    """

    right: Floats
    fluke: Floats


class Best(NamedTuple):
    """The number of attempts with the highest value, and that value."""

    attempts: int
    value: float


def measure(accepted: ArrayLike, right: ArrayLike) -> Measured:
    """Estimate a verifier from judged samples, with Wilson intervals (treating samples as independent).

    Parameters
    ----------
    accepted, right : array of bool
        The verifier's verdicts, and the truth.

    Raises
    ------
    ParameterError
        If there are no right samples or no wrong ones, or lengths differ.
    """
    verdicts, truths = finite(accepted, "verdicts"), finite(right, "truths")
    if verdicts.size != truths.size or not (np.isin(verdicts, (0, 1)).all() and np.isin(truths, (0, 1)).all()):
        raise ParameterError(f"each sample needs a verdict and a truth, got {verdicts.size} and {truths.size}")
    good, bad = int(truths.sum()), int((1 - truths).sum())
    if not good or not bad:
        raise ParameterError(f"measuring a verifier needs verdicts on right and on wrong samples, got {good} and {bad}")
    hits, catches = int(verdicts @ truths), int((1 - verdicts) @ (1 - truths))
    return Measured(Interval(hits / good, *wilson(hits, good)), Interval(catches / bad, *wilson(catches, bad)))


def ceiling(rates: ArrayLike, priors: ArrayLike | None = None, verifier: Verifier = PERFECT) -> float:
    """Return the limit of the share of right answers if each problem is attempted until an answer is accepted.

    Problems for which no attempt is ever accepted remain unanswered, and count as wrong.

    Parameters
    ----------
    rates : array
        Probability of a right sample, by problem or type of problem.
    priors : array, optional
        Share of each type; equal by default.

    Raises
    ------
    ParameterError
        If a rate or probability is not in [0, 1], or priors do not sum to 1.
    """
    rate, prior = _types(rates, priors)
    hit, fluke = _accepted(rate, verifier)
    return float(prior @ np.divide(hit, hit + fluke, out=np.zeros_like(rate), where=hit + fluke > 0))


def reach(
    attempts: ArrayLike,
    rates: ArrayLike,
    priors: ArrayLike | None = None,
    verifier: Verifier = PERFECT,
) -> Reach:
    """Return the shares of problems answered right and wrong, for each number of attempts.

    Parameters and errors are as for `ceiling`; attempts are whole numbers of at least 0.
    """
    rate, prior = _types(rates, priors)
    hit, fluke = _accepted(rate, verifier)
    times = np.asarray(attempts, np.float64)
    if not (np.isfinite(times) & (times >= 0)).all():
        raise ParameterError(f"attempts must be at least 0 and finite, got {times}")
    taken = hit + fluke
    ever = -np.expm1(times[..., None] * np.log1p(-np.minimum(taken, 1 - 1e-16)))
    share = np.divide(ever, taken, out=np.zeros(np.broadcast(ever, taken).shape), where=taken > 0)
    return Reach((share * hit) @ prior, (share * fluke) @ prior)


def best_attempts(
    rates: ArrayLike,
    priors: ArrayLike | None = None,
    verifier: Verifier = PERFECT,
    *,
    right: float = 1.0,
    fluke: float = -1.0,
    cost: float = 0.0,
    most: int = 10_000,
) -> Best:
    """Return the number of attempts, up to `most`, after which it is best to stop.

    Attempt k happens if all previous ones were rejected, so its value is the mean over types of
    `(V_right c r + V_fluke (1 - s)(1 - r) - cost) beta^(k - 1)`. Problems still open after some rejections are the hard
    ones, where flukes prevail, so the best number is often small.

    Parameters
    ----------
    right, fluke, cost : float
        Values of a right and of a wrong answer, relative to no answer, and cost of an attempt.

    Raises
    ------
    ParameterError
        As for `ceiling`, or if a value is not finite or `most` is below 1.
    """
    rate, prior = _types(rates, priors)
    hit, miss = _accepted(rate, verifier)
    if not np.isfinite([right, fluke, cost]).all() or most < 1:
        raise ParameterError(
            f"worths must be finite and attempts must be at least 1, got {right}, {fluke}, {cost}, {most}"
        )
    worth, rejected = right * hit + fluke * miss - cost, 1 - hit - miss
    gains = (rejected[None, :] ** np.arange(most)[:, None]) @ (prior * worth)
    values = np.concatenate([[0.0], np.cumsum(gains)])
    attempts = int(values.argmax())
    return Best(attempts, float(values[attempts]))


def _types(rates: ArrayLike, priors: ArrayLike | None) -> tuple[Floats, Floats]:
    rate = finite(rates, "rates")
    prior = np.full(rate.size, 1 / rate.size) if priors is None else finite(priors, "priors")
    if rate.min() < 0 or rate.max() > 1:
        raise ParameterError(f"rates must lie in [0, 1], got {rate.min():g} to {rate.max():g}")
    if prior.size != rate.size or prior.min() < 0 or abs(prior.sum() - 1) > 1e-9:
        raise ParameterError(f"each of {rate.size} rates needs a prior, and priors must sum to 1, got {prior}")
    return rate, prior


def _accepted(rate: Floats, verifier: Verifier) -> tuple[Floats, Floats]:
    """Return the probabilities that an attempt is right and accepted, and wrong and accepted."""
    if not all(0 <= chance <= 1 for chance in verifier):
        raise ParameterError(f"completeness and soundness must lie in [0, 1], got {tuple(verifier)}")
    return verifier.completeness * rate, (1 - verifier.soundness) * (1 - rate)
