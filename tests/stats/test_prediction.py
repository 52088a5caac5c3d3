"""Predicted counts of right answers: against enumeration of arrangements, and their coverage for every number right."""

from fractions import Fraction
from itertools import combinations
from math import comb

import pytest

from intact._base.errors import ParameterError
from intact.stats.prediction import PredictedCount, predict_right


def enumerated(right, graded, to_come, tail):
    """Keep t by counting, among all orders of right + t right ones and the rest, as few or as many graded."""
    everyone = range(graded + to_come)
    kept = []
    for t in range(to_come + 1):
        seen = [sum(place < graded for place in places) for places in combinations(everyone, right + t)]
        few, many = (sum(c <= right for c in seen), sum(c >= right for c in seen))
        if Fraction(few, len(seen)) > tail and Fraction(many, len(seen)) > tail:
            kept.append(t)
    return PredictedCount(min(kept), max(kept)), kept


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9])
def test_bounds_are_those_of_all_orders(level):
    tail = Fraction(1 - Fraction(str(level))) / 2
    for graded, to_come in ((1, 1), (4, 3), (7, 2), (3, 6)):
        for right in range(graded + 1):
            bounds, kept = enumerated(right, graded, to_come, tail)
            assert kept == list(range(bounds.low, bounds.high + 1))
            assert predict_right(right, graded, to_come, level) == bounds


@pytest.mark.parametrize(("graded", "to_come", "level"), [(20, 10, 0.9), (10, 30, 0.95), (25, 25, 0.5)])
def test_bounds_hold_the_truth_as_often_as_they_say_for_every_number_right(graded, to_come, level):
    bounds = [predict_right(right, graded, to_come, level) for right in range(graded + 1)]
    least = Fraction(1)
    for total in range(graded + to_come + 1):
        held = sum(
            comb(graded, c) * comb(to_come, total - c)
            for c in range(min(graded, total) + 1)
            if bounds[c].low <= total - c <= bounds[c].high and total - c <= to_come
        )
        least = min(least, Fraction(held, comb(graded + to_come, total)))
    assert Fraction(str(level)) <= least < 1


def test_coverage_for_problems_of_one_chance_each():
    """For 20 graded and 10 to come, over chances of 0.05, 0.1, ..., 0.95: nominal 90% holds in 94.85% at least."""
    bounds = [predict_right(right, 20, 10) for right in range(21)]

    def held(p):
        def binomial(k, n):
            return comb(n, k) * p**k * (1 - p) ** (n - k)

        return sum(
            binomial(c, 20) * sum(binomial(t, 10) for t in range(low, high + 1)) for c, (low, high) in enumerate(bounds)
        )

    assert round(float(min(held(Fraction(i, 20)) for i in range(1, 20))), 4) == 0.9485


def test_known_bounds():
    assert predict_right(24, 100, 100) == (14, 35)
    assert predict_right(24, 100, 20) == (2, 9)
    assert predict_right(0, 50, 10).low == 0
    assert predict_right(50, 50, 10).high == 10


def test_right_and_wrong_are_mirrored():
    for right in range(13):
        low, high = predict_right(right, 12, 9, 0.8)
        assert predict_right(12 - right, 12, 9, 0.8) == (9 - high, 9 - low)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 2, 5), "got 3 of 2"),
        ((-1, 2, 5), "got -1 of 2"),
        ((0, 0, 5), "got 0 of 0"),
        ((1, 2, 0), "to_come must be at least 1, got 0"),
        ((1, 2, 5, 1.0), "level must lie between 0 and 1, got 1.0"),
        ((1, 2, 5, float("nan")), "level must lie between 0 and 1, got nan"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(ParameterError, match=message):
        predict_right(*arguments)
