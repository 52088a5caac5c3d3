"""Choice among arms by upper confidence bounds with a prior, as PlanGEN's selection agent makes it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from intact._base.exact import ln


class UcbArm(NamedTuple):
    """The statistics of an arm.

    Attributes
    ----------
    trials : int
        How often it was chosen.
    reward : float
        The sum of its rewards.
    last : float
        The newest of them.
    recovery : float
        By how much that lies above the one before; 0 where it does not, or is the first.
    prior : float
        How well suited it seemed before any trial.
    """

    trials: int = 0
    reward: float = 0.0
    last: float = 0.0
    recovery: float = 0.0
    prior: float = 0.0

    def observe(self, reward: float) -> UcbArm:
        """Return the arm after one more trial."""
        recovery = max(0.0, reward - self.last) if self.trials else 0.0
        return UcbArm(self.trials + 1, self.reward + reward, reward, recovery, prior=self.prior)


class BonusWeights(NamedTuple):
    """The weights of the terms that are added to an arm's mean reward."""

    exploration: float = 1.0
    prior: float = 1.0
    diversity: float = 1.0
    recovery: float = 1.0


EVEN: Final = BonusWeights()


def bonus(arm: UcbArm, weights: BonusWeights) -> float:
    """Return `(prior + diversity + recovery) / (N + 1)`, each term by its weight; diversity is 1."""
    terms = weights.prior * arm.prior + weights.diversity + weights.recovery * arm.recovery
    return terms / (arm.trials + 1)


def bound(arm: UcbArm, trials: int, weights: BonusWeights) -> float:
    """Return `R / N + sqrt(2 ln(T + 1) / N) + bonus` of an arm that was tried, T being the trials of all arms."""
    exploration = math.sqrt(2 * ln(trials + 1) / arm.trials)
    return arm.reward / arm.trials + weights.exploration * exploration + bonus(arm, weights)


def choose_arm(arms: Sequence[UcbArm], weights: BonusWeights = EVEN) -> int:
    """Return the arm of the largest upper confidence bound (Parmar et al. 2025, arXiv 2502.16111).

    An arm never tried comes before all others; of several such that of the largest bonus. Equals go to the first. All
    three bonuses fade as 1 / (N + 1), so that for rewards in [0, 1] the regret grows with the logarithm of T, as that
    of UCB1 does (Auer et al. 2002): a constant prior in favour of a bad arm would make it linear.
    """
    trials = sum(arm.trials for arm in arms)
    bounds = [(False, bound(arm, trials, weights)) if arm.trials else (True, bonus(arm, weights)) for arm in arms]
    return max(range(len(bounds)), key=bounds.__getitem__)
