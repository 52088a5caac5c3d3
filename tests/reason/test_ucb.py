"""Upper confidence bounds with a prior: the rule by hand, and the exact regret on a bandit of two arms."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.reason.populations.ucb import BonusWeights, UcbArm, choose_arm

STEADY, CHANCE = 0.2, 0.9
"""The bad arm's reward, always the same; the chance of the good arm's reward of 1, else it is 0."""
HORIZONS = (16, 32, 64, 128)
GREEDY = BonusWeights(exploration=0, prior=0, diversity=0, recovery=0)


def regrets(weights: BonusWeights, prior: float = 0.0) -> Mapping[int, float]:
    """Return the expected regret after each horizon, exactly: over all that the rewards can be.

    Parameters
    ----------
    prior : float
        That of the bad arm.
    """
    law = {(UcbArm(prior=prior), UcbArm()): 1.0}
    found, pulls = dict[int, float](), 0.0
    for time in range(1, HORIZONS[-1] + 1):
        following = dict[tuple[UcbArm, UcbArm], float]()
        for (bad, good), mass in law.items():
            if choose_arm([bad, good], weights) == 0:
                pulls += mass
                outcomes = [((bad.observe(STEADY), good), mass)]
            else:
                outcomes = [((bad, good.observe(1.0)), mass * CHANCE), ((bad, good.observe(0.0)), mass * (1 - CHANCE))]
            for state, chance in outcomes:
                following[state] = following.get(state, 0.0) + chance
        law = following
        if time in HORIZONS:
            found[time] = pulls * (CHANCE - STEADY)
    assert math.isclose(sum(law.values()), 1)
    return found


def increments(found: Mapping[int, float]) -> list[float]:
    """Return what each doubling of the time adds."""
    return [found[after] - found[before] for before, after in itertools.pairwise(HORIZONS)]


@pytest.mark.parametrize(
    ("weights", "prior"), [(BonusWeights(prior=0, diversity=0, recovery=0), 0.0), (BonusWeights(), 1.0)]
)
def test_regret_grows_with_the_logarithm_of_time(weights: BonusWeights, prior: float) -> None:
    """Each doubling adds about `2 ln 2 / gap`, not twice as much; also with all bonuses and a prior for the bad arm."""
    each = 2 * math.log(2) / (CHANCE - STEADY)
    assert increments(regrets(weights, prior)) == pytest.approx([each] * 3, rel=0.4)


def test_without_exploration_regret_is_linear() -> None:
    """Where the good arm fails at first it is never tried again, and so each doubling adds twice as much."""
    first, second, third = increments(regrets(GREEDY))
    assert second == pytest.approx(2 * first)
    assert third == pytest.approx(4 * first)
    assert first >= HORIZONS[0] * (1 - CHANCE) * (CHANCE - STEADY) * (1 - 1e-9)


def test_the_bound_of_an_arm_by_hand() -> None:
    """R / N + sqrt(2 ln(T + 1) / N) + (prior + 1 + recovery) / (N + 1): once by its mean, once by its bonus."""
    tried = UcbArm().observe(0.25).observe(0.5)
    assert tried == UcbArm(2, 0.75, 0.5, 0.25)
    assert tried.observe(0.0) == UcbArm(3, 0.75, 0.0, 0.0)
    bound = 0.375 + math.sqrt(2 * math.log(4) / 2) + (1 + 0.25) / 3
    other = bound - math.sqrt(2 * math.log(4)) - 1 / 2
    assert choose_arm([tried, UcbArm().observe(other - 1e-9)]) == 0
    assert choose_arm([tried, UcbArm().observe(other + 1e-9)]) == 1


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=5))
def test_an_arm_never_tried_comes_first_and_of_several_that_with_the_larger_prior(rewards: list[float]) -> None:
    tried = UcbArm(prior=1.0)
    for reward in rewards:
        tried = tried.observe(reward)
    assert choose_arm([tried, UcbArm(), UcbArm()]) == 1
    assert choose_arm([tried, UcbArm(), UcbArm(prior=0.5)]) == 2
