"""Splits of a budget between solutions and verdicts: against enumeration, and the paper's law."""

import itertools
import math

import numpy as np
import pytest

from intact._base.errors import ParameterError
from intact.stats.budget_split import VerifiedSplit, best_splits, best_verified_at, exponents


def enumerated(verdicts, right, solutions, checks):
    """The share of all subsets of solutions and of their verdicts in which the first of the best is right."""
    wins = total = 0
    for chosen in itertools.combinations(range(len(right)), solutions):
        for seen in itertools.product(*(itertools.combinations(verdicts[i], checks) for i in chosen)):
            scores = [sum(own) for own in seen]
            wins += right[chosen[scores.index(max(scores))]]
            total += 1
    return wins / total


@pytest.mark.parametrize("seed", range(4))
def test_accuracy_is_that_of_all_subsets_enumerated(seed):
    rng = np.random.default_rng(seed)
    verdicts = rng.choice([0, 0.5, 1], (4, 3)).tolist()
    right = [bool(one) for one in rng.random(4) < 0.5]
    for checks in (1, 2, 3):
        found = best_verified_at(verdicts, right, checks)
        assert found == pytest.approx([enumerated(verdicts, right, k, checks) for k in (1, 2, 3, 4)], abs=1e-12)


def test_all_solutions_with_all_verdicts_are_the_choice_of_the_method():
    assert best_verified_at([[0, 1], [1, 1], [1, 1]], [True, False, True], 2)[-1] == 0
    assert best_verified_at([[0, 1], [1, 1], [1, 1]], [True, True, False], 2)[-1] == 1


def test_the_best_split_is_affordable_and_the_cheapest_of_equals():
    table = [[0.3, 0.4], [0.4, 0.6]]
    assert best_splits(table, 0.5, [1, 2, 3, 4]) == [
        VerifiedSplit(2, 1, 2, 0.4),
        VerifiedSplit(3, 1, 2, 0.4),
        VerifiedSplit(4, 2, 2, 0.6),
    ]


def test_exponents_of_the_worked_example():
    splits = [VerifiedSplit(8, 4, 1, 0), VerifiedSplit(32, 8, 3, 0), VerifiedSplit(128, 16, 7, 0)]
    solving, verifying = exponents(splits)
    assert solving == pytest.approx(0.5)
    assert verifying == pytest.approx(math.log(7) / math.log(16))
    with pytest.raises(ParameterError, match="three budgets"):
        exponents(splits[:2])


@pytest.mark.parametrize(
    ("verdicts", "checks"), [([[1, 0], [1]], 1), ([[1, 0], [1, 1]], 3), ([[1], [0]], 0), ([[1]], 1), ([], 1)]
)
def test_uneven_verdicts_are_refused(verdicts, checks):
    with pytest.raises(ParameterError, match="the same number of verdicts"):
        best_verified_at(verdicts, [True, False], checks)
