"""Thompson sampling between wider and deeper, as in AB-MCTS-A (Inoue et al. 2025, arXiv 2503.04412)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from intact._base.errors import ParameterError
from intact._base.exact import mean, total
from intact.reason.populations.variates import RandomStream


class Normal(NamedTuple):
    """A normal mean with unknown variance and its conjugate prior, normal-inverse-chi-squared.

    `s^2 ~ nu tau^2 / chi^2(nu)`, `mu ~ N(m, s^2 / kappa)`; the defaults are those of TreeQuest.
    """

    m: float = 0.0
    kappa: float = 1.0
    nu: float = 1.0
    tau2: float = 0.1

    def observe(self, rewards: Sequence[float]) -> Normal:
        """Return the posterior after n rewards of mean y.

        `kappa' = kappa + n`, `nu' = nu + n`, `m' = (kappa m + n y) / kappa'`,
        `nu' tau'^2 = nu tau^2 + sum (y_i - y)^2 + kappa n (m - y)^2 / kappa'`.
        """
        n = len(rewards)
        if not n:
            return self
        average = mean(rewards)
        kappa, nu = self.kappa + n, self.nu + n
        gaps = [reward - average for reward in rewards]
        spread = total(gap * gap for gap in gaps)
        shift = self.kappa * n * (self.m - average) * (self.m - average) / kappa
        return Normal(
            (self.kappa * self.m + n * average) / kappa, kappa, nu, (self.nu * self.tau2 + spread + shift) / nu
        )

    def draw(self, stream: RandomStream) -> float:
        """Draw a mean reward from the distribution."""
        variance = self.nu * self.tau2 / (2 * stream.gamma(self.nu / 2))
        return self.m + math.sqrt(variance / self.kappa) * stream.normal()


class Beta(NamedTuple):
    """A beta prior on the mean of rewards in [0, 1]; each reward counts as a fraction of a success."""

    a: float = 0.5
    b: float = 0.5

    def observe(self, rewards: Sequence[float]) -> Beta:
        """Return the posterior `Beta(a + sum r, b + sum (1 - r))`.

        Raises
        ------
        ParameterError
            If a reward is outside [0, 1].
        """
        if not all(0 <= reward <= 1 for reward in rewards):
            raise ParameterError(f"rewards must lie in [0, 1], got {list(rewards)}")
        return Beta(self.a + total(rewards), self.b + total(1 - reward for reward in rewards))

    def draw(self, stream: RandomStream) -> float:
        """Draw a mean reward from the distribution."""
        return stream.beta(self.a, self.b)


PRIORS: dict[str, Normal | Beta] = {"normal": Normal(), "beta": Beta()}


def thompson(arms: Sequence[Normal | Beta], stream: RandomStream) -> int:
    """Return the arm with the largest sampled mean; arms sample in order, and ties go to the first."""
    draws = [arm.draw(stream) for arm in arms]
    return max(range(len(draws)), key=draws.__getitem__)


def wider_or_deeper(children: Sequence[tuple[float, Sequence[float]]], prior: Normal | Beta, key: int) -> int | None:
    """Return a node's choice in AB-MCTS-A: a new child (None), or the child to descend to.

    At first there are two arms: "wider" (a new child), which has observed the children's own scores, and "deeper",
    which has observed the scores of all their descendants. If deeper wins, each child is an arm that has observed its
    own score first, as in the authors' code, and then the scores below it.

    Parameters
    ----------
    children : sequence of (float, sequence of float)
        Each child's score, and the scores of its descendants.
    """
    if not children:
        return None
    stream = RandomStream(key)
    below = [list(scores) for _, scores in children]
    new = prior.observe([score for score, _ in children])
    deeper = prior.observe([score for scores in below for score in scores])
    if thompson([new, deeper], stream) == 0:
        return None
    return thompson([prior.observe([score, *scores]) for score, scores in children], stream)
