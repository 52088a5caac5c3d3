"""Choice among arms by upper confidence bounds with a prior, as in PlanGEN's selection agent."""

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
        Number of times the arm was chosen.
    reward : float
        The sum of its rewards.
    last : float
        Its latest reward.
    recovery : float
        Increase of the latest reward over the previous one; 0 with fewer than two rewards.
    prior : float
        Estimated suitability before any trial.
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
    """Weights of the terms added to an arm's mean reward."""

    exploration: float = 1.0
    prior: float = 1.0
    diversity: float = 1.0
    recovery: float = 1.0


EVEN: Final = BonusWeights()


def bonus(arm: UcbArm, weights: BonusWeights) -> float:
    """Return `(prior + diversity + recovery) / (N + 1)`, each term multiplied by its weight; diversity is 1."""
    terms = weights.prior * arm.prior + weights.diversity + weights.recovery * arm.recovery
    return terms / (arm.trials + 1)


def bound(arm: UcbArm, trials: int, weights: BonusWeights) -> float:
    """Return `R / N + sqrt(2 ln(T + 1) / N) + bonus` of an arm that was tried, where T counts all arms' trials."""
    exploration = math.sqrt(2 * ln(trials + 1) / arm.trials)
    return arm.reward / arm.trials + weights.exploration * exploration + bonus(arm, weights)


def choose_arm(arms: Sequence[UcbArm], weights: BonusWeights = EVEN) -> int:
    """Return the arm with the largest upper confidence bound (Parmar et al. 2025, arXiv 2502.16111).

    Untried arms come first, in order of bonus. Ties go to the first. All three bonuses fade as 1 / (N + 1), so for
    rewards in [0, 1] the regret grows with the logarithm of T, as in UCB1 (Auer et al. 2002): a constant prior in
    favour of a bad arm would make it linear.
    """
    trials = sum(arm.trials for arm in arms)
    bounds = [(False, bound(arm, trials, weights)) if arm.trials else (True, bonus(arm, weights)) for arm in arms]
    return max(range(len(bounds)), key=bounds.__getitem__)
