"""Batch Predictive Inference: its law of ranks, bounds and coverage against enumeration of all orders."""

import math
import random
from collections import Counter
from fractions import Fraction
from itertools import accumulate, combinations, combinations_with_replacement, product

import numpy as np
import pytest

from intact._base.errors import ParameterError
from intact.stats.batches import (
    at_most_wrong,
    batch_mean,
    batch_quantile,
    predict_mean,
    rank_law,
    rank_quantile,
    rank_sum_counts,
    rank_sum_quantile,
)

SIZES = [(1, 1), (4, 3), (3, 5), (6, 2)]


def sequences(graded, to_come):
    """Yield the sorted ranks of the scores to come, for all places that they may have among all scores."""
    for places in combinations(range(graded + to_come), to_come):
        yield [1 + place - earlier for earlier, place in enumerate(places)]


def splits(items, to_come):
    """Yield all ways to part items into graded ones and ones to come."""
    for places in combinations(range(len(items)), to_come):
        chosen = set(places)
        yield (
            [item for place, item in enumerate(items) if place not in chosen],
            [item for place, item in enumerate(items) if place in chosen],
        )


@pytest.mark.parametrize(("graded", "to_come"), SIZES)
def test_laws_are_those_of_all_orders(graded, to_come):
    ranks = list(sequences(graded, to_come))
    assert sorted(ranks) == sorted(map(list, combinations_with_replacement(range(1, graded + 2), to_come)))
    for place in range(1, to_come + 1):
        seen = Counter(one[place - 1] for one in ranks)
        assert rank_law(graded, to_come, place) == [Fraction(seen[k], len(ranks)) for k in range(1, graded + 2)]
    sums = Counter(sum(one) - to_come for one in ranks)
    assert rank_sum_counts(graded, to_come) == [sums[s] for s in range(graded * to_come + 1)]


def test_quantiles_of_ranks():
    assert (rank_quantile(200, 100, 90, 0.9), rank_quantile(200, 100, 90, 0.95)) == (188, 190)


def test_ranks_drawn_independently_have_another_quantile_than_the_right_one():
    """The authors' program takes 258, which holds in 87.8%, where 263 is right."""
    ways = [1]
    for _ in range(10):
        ways = np.convolve(np.array(ways, object), np.ones(41, object)).tolist()
    sums = list(accumulate(ways))
    theirs = 10 + next(s for s, held in enumerate(sums) if held >= Fraction(9, 10) * sums[-1])
    right = list(accumulate(rank_sum_counts(40, 10)))
    assert (theirs, rank_sum_quantile(40, 10)) == (258, 263)
    assert round(right[theirs - 10] / right[-1], 3) == 0.878
    assert right[263 - 10] >= Fraction(9, 10) * right[-1] > right[262 - 10]


@pytest.mark.parametrize("level", [0.5, 0.8])
@pytest.mark.parametrize("values", [(0, 0, 1, 1, 1, 2, 3, 3), (1, 2, 3, 4, 5, 6, 7, 8), (0, 0, 0, 0, 0, 0, 0, 1)])
def test_bounds_of_a_place_hold_as_often_as_they_say(values, level):
    for to_come, place in ((3, 2), (3, 3), (2, 1)):
        held = [
            sorted(new)[place - 1] <= batch_quantile(old, to_come, place, level) for old, new in splits(values, to_come)
        ]
        assert sum(held) >= Fraction(str(level)) * len(held)
    assert batch_quantile([1, 2, 3], 5, 5, 0.99) == math.inf


@pytest.mark.parametrize("level", [0.5, 0.8])
def test_means_are_within_their_bounds_as_often_as_they_say(level):
    rng = random.Random(0)
    for kind in ([0, 1], [0, 0.25, 1], [i / 8 for i in range(9)]):
        items = [rng.choice(kind) for _ in range(8)]
        one, both = [], []
        for old, new in splits(items, 3):
            mean = Fraction(sum(new)) / 3
            low, high = predict_mean(old, 3, level)
            one.append(mean <= batch_mean(old, 3, level))
            both.append(low <= mean <= high)
        assert min(sum(one), sum(both)) >= Fraction(str(level)) * len(one)


def test_the_bound_of_a_mean_is_the_largest_over_all_ranks():
    rng = random.Random(1)
    for graded, to_come in SIZES:
        for scale in (1, 2**61):  # the second is computed with long integers
            scores = [rng.randrange(5) * scale for _ in range(graded)]
            steps = [*sorted(scores), 7 * scale]
            most = rank_sum_quantile(graded, to_come, 0.7)
            ranks = product(range(1, graded + 2), repeat=to_come)
            best = max(sum(steps[r - 1] for r in one) for one in ranks if sum(one) <= most)
            assert batch_mean(scores, to_come, 0.7, highest=7 * scale) == Fraction(best, to_come)


def test_bounds_from_below_mirror_those_from_above():
    scores = [0.125, 0.5, 0.5, 0.75, 1, 0.25]
    low, high = predict_mean(scores, 4, 0.6)
    mirrored = predict_mean([1 - score for score in scores], 4, 0.6)
    assert (1 - mirrored.high, 1 - mirrored.low) == (low, high)
    assert 0 < low < high < 1


@pytest.mark.parametrize("level", [0.5, 0.8])
def test_answers_above_the_bound_are_seldom_wrong_too_often(level):
    rng = random.Random(2)
    bounds = set()
    for _ in range(6):
        items = [(rng.randrange(5), rng.random() < 0.6) for _ in range(9)]
        for wrong in range(3):
            held = []
            for old, new in splits(items, 3):
                bound = at_most_wrong([one for one, _ in old], [flag for _, flag in old], 3, wrong, level)
                bounds.add(bound)
                held.append(sum(value > bound and not flag for value, flag in new) <= wrong)
            assert sum(held) >= Fraction(str(level)) * len(held)
    assert bounds == {-math.inf, 0, 1, 2, 3, 4, *([math.inf] if level > 0.5 else [])}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rank_law(0, 3, 1), "graded and to_come must be at least 1, got 0 and 3"),
        (lambda: rank_law(3, 2, 3), r"must lie in \[1, 2\], got 3"),
        (lambda: rank_quantile(3, 2, 1, 1), "level must lie between 0 and 1, got 1"),
        (lambda: batch_quantile([1.0, math.nan], 2, 1), "a score is NaN"),
        (lambda: batch_mean([0.5, 1.5], 2), "1.5 is above the highest possible score, 1"),
        (lambda: batch_mean([0.5, math.inf], 2), "a score must be finite"),
        (lambda: predict_mean([0.5, -0.5], 2), "-0.5 is below the lowest possible score, 0"),
        (lambda: at_most_wrong([0.5], [True, False], 2, 1), "equal in number, got 1 and 2"),
        (lambda: at_most_wrong([math.nan], [True], 2, 1), "a confidence is NaN"),
        (lambda: at_most_wrong([0.5], [True], 2, 2), "0 to 1 may be wrong, got 2"),
    ],
)
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(ParameterError, match=message):
        call()
