"""Regret of curves: the worked example, limits, and a sum over single tokens."""

import numpy as np
import pytest

from intact._base.errors import ParameterError
from intact.stats.laws.regret import regret


def test_the_worked_example_of_straight_lines():
    assert regret([100, 300], [0.2, 0.6], 500) == pytest.approx(0.58)


def test_right_at_once_has_none_and_never_right_has_all():
    assert regret([1], [1], 1e9, straight=False) == pytest.approx(0, abs=1e-8)
    assert regret([10, 20], [0, 0], 40) == 1


@pytest.mark.parametrize("straight", [True, False])
@pytest.mark.parametrize("budget", [5, 60, 100, 250])
def test_regret_is_one_less_the_mean_accuracy_of_all_places(straight, budget):
    tokens, accuracy = [10, 40, 90, 200], [0.1, 0.7, 0.5, 0.9]
    places = (np.arange(100_000) + 0.5) * budget / 100_000
    if straight:
        heights = np.interp(places, [0, *tokens], [0, *accuracy])
    else:
        heights = np.array([0, *accuracy])[np.searchsorted(tokens, places, side="right")]
    assert regret(tokens, accuracy, budget, straight=straight) == pytest.approx(1 - heights.mean(), abs=1e-4)


@pytest.mark.parametrize(
    ("tokens", "accuracy", "budget", "words"),
    [
        ([2, 1], [0, 1], 3, "tokens must be positive and ascending"),
        ([0, 1], [0, 1], 3, "tokens must be positive and ascending"),
        ([1, 2], [0, 2], 3, "tokens must be positive and ascending"),
        ([1], [0, 1], 3, "tokens must be positive and ascending"),
        ([1], [1], 0, "the budget must be positive"),
    ],
)
def test_what_is_no_curve_is_refused(tokens, accuracy, budget, words):
    with pytest.raises(ParameterError, match=words):
        regret(tokens, accuracy, budget)
