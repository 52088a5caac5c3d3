"""Rounds of revision as a Markov chain: saturation of sequential scaling (TTSPM, Wang et al. 2025, arXiv 2505.20522).

A round makes a wrong answer right with probability p and a right one wrong with probability b. From a share `first` of
right answers, N rounds lead to

    A(N) = L + (first - L) (1 - p - b)^N,        L = p / (p + b),

so the gain over the first answers follows TTSPM's law `F_max (1 - (1 - q)^N)` with `F_max = L - first` and `q = p + b`,
and N* follows from it. In the paper's chain b is 0, and every answer eventually becomes right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from intact._base.errors import ParameterError
from intact.stats.checks import Floats
from intact.stats.intervals import Interval, bootstrap
from intact.stats.laws.saturation import Saturation


class RevisionChain(NamedTuple):
    """A chain of revision rounds.

    Attributes
    ----------
    first : float
        Share of right answers before the first round.
    mended, spoilt : float
        Probabilities that a round makes a wrong answer right, and a right one wrong.
    """

    first: float
    mended: float
    spoilt: float

    @property
    def limit(self) -> float:
        """The limit of the share of right answers; the first share if no answer ever changes."""
        total = self.mended + self.spoilt
        return self.mended / total if total else self.first

    def accuracy(self, rounds: ArrayLike) -> Floats:
        """Return the share of right answers after a number of rounds."""
        stays = (1 - self.mended - self.spoilt) ** np.asarray(rounds, np.float64)
        return np.asarray(self.limit + (self.first - self.limit) * stays)

    def point(self, epsilon: float = 0.001) -> int:
        """Return N*, the smallest number of rounds after which another one gains at most epsilon.

        It is 0 if rounds lose accuracy, and at most 1 if a round changes every answer (p + b of 1 or more).

        Raises
        ------
        ParameterError
            If epsilon is not above 0.
        """
        gain = self.limit - self.first
        if not gain > 0:
            if not epsilon > 0:
                raise ParameterError(f"epsilon must be positive, got {epsilon}")
            return 0
        return Saturation(gain, min(1.0, self.mended + self.spoilt)).point(epsilon)


class SequentialSaturation(NamedTuple):
    """A chain of rounds with 95% intervals from bootstrapping problems.

    Attributes
    ----------
    chain : RevisionChain
    most : int
        Largest number of rounds observed.
    limit, point : Interval
        The limit of the share of right answers, and N*.
    last_doubling : Interval
        Gain observed from half of `most` to `most`; drafts with fewer rounds keep their last answer.
    next_doubling : Interval
        Gain predicted by the chain from `most` to twice as many rounds.
    """

    chain: RevisionChain
    most: int
    limit: Interval
    point: Interval
    last_doubling: Interval
    next_doubling: Interval


def sequential_saturation(
    drafts: Sequence[Sequence[Sequence[bool]]], epsilon: float = 0.001, *, resamples: int = 999, seed: int = 0
) -> SequentialSaturation:
    """Measure a chain from drafts, with bootstrap intervals over problems: BCa, but percentiles for N*.

    Percentiles are too narrow for a few dozen problems. If a resample has no round that starts from a wrong answer, or
    none from a right one, the missing probability is taken from all problems. If no problem affects the result, BCa is
    undefined, and percentiles are used.

    Parameters
    ----------
    drafts : sequence
        The drafts of each problem. A draft is a list of bool with one value per round: if true, the answer after that
        round is right.

    Raises
    ------
    ParameterError
        If a problem has no draft, a draft has no answer, there are fewer than two problems, or no round starts from a
        wrong answer, or none from a right one.
    """
    if len(drafts) < 2 or not all(own and all(own) for own in drafts):
        raise ParameterError(f"at least two problems with a draft that has an answer are needed, got {len(drafts)}")
    most = max(len(draft) for own in drafts for draft in own) - 1
    counts = np.array([_count(own, most) for own in drafts], np.float64)
    wrong, mended, right, spoilt, number, first, *_ = counts.sum(axis=0).tolist()
    if not wrong or not right:
        raise ParameterError("all rounds start from wrong answers, or all from right answers")
    chain = RevisionChain(first / number, mended / wrong, spoilt / right)

    def gains(one: RevisionChain, _: float) -> float:
        return float(one.accuracy(2 * most) - one.accuracy(most))

    def measured(of: Callable[[RevisionChain, float], float], bca: bool = True) -> Interval:
        def statistic(places: Floats, axis: int) -> Floats:
            sums = np.stack([column[places.astype(int)].sum(axis=axis) for column in counts.T], axis=-1)
            return np.asarray(np.apply_along_axis(lambda own: of(*_chain(own, chain)), -1, sums))

        without = [of(*_chain(counts.sum(axis=0) - own, chain)) for own in counts]
        method: Literal["bca", "percentile"] = "bca" if bca and min(without) < max(without) else "percentile"
        return bootstrap(np.arange(len(counts)), statistic, method=method, resamples=resamples, seed=seed)

    return SequentialSaturation(
        chain,
        most,
        measured(lambda one, _: one.limit),
        measured(lambda one, _: float(one.point(epsilon)), bca=False),
        last_doubling=measured(lambda _, seen: seen),
        next_doubling=measured(gains),
    )


def _chain(sums: Floats, otherwise: RevisionChain) -> tuple[RevisionChain, float]:
    """Return the chain for some counts, and the gain of the last doubling.

    Probabilities that the counts do not determine come from `otherwise`.
    """
    wrong, mended, right, spoilt, number, first, half, last = sums.tolist()
    mends = mended / wrong if wrong else otherwise.mended
    return RevisionChain(first / number, mends, spoilt / right if right else otherwise.spoilt), (last - half) / number


def _count(own: Sequence[Sequence[bool]], most: int) -> tuple[int, ...]:
    """Count a problem's rounds and drafts.

    Returns the number of rounds that start from wrong answers, and of those mended; from right answers, and of those
    spoilt; the number of drafts, and of those right before any round, after half of the maximum number of rounds, and
    after all rounds.
    """
    pairs = [(bool(before), bool(after)) for draft in own for before, after in pairwise(draft)]
    at = [sum(bool(draft[min(rounds, len(draft) - 1)]) for draft in own) for rounds in (0, math.ceil(most / 2), most)]
    return (
        sum(not before for before, _ in pairs),
        sum(after and not before for before, after in pairs),
        sum(before for before, _ in pairs),
        sum(before and not after for before, after in pairs),
        len(own),
        *at,
    )
