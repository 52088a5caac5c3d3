"""Exact inference about a proportion: against SciPy, by enumeration, and by simulated looks after every trial."""

import math
import random
from fractions import Fraction

import pytest

from intact._base.errors import ParameterError
from intact.stats.proportions import BITS, anytime_interval, clopper_pearson, detectable, e_values

UNIT = 2.0**-BITS


@pytest.mark.parametrize(
    ("successes", "trials"), [(0, 10), (3, 10), (10, 10), (0, 300), (5, 300), (72, 100), (150, 300), (1, 1), (0, 1)]
)
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_clopper_pearson_is_scipys_rounded_outwards(successes, trials, level):
    beta = pytest.importorskip("scipy.stats").beta
    tail = (1 - level) / 2
    low = beta.ppf(tail, successes, trials - successes + 1) if successes else 0.0
    high = beta.ppf(1 - tail, successes + 1, trials - successes) if successes < trials else 1.0
    found = clopper_pearson(successes, trials, level)
    assert low - 2 * UNIT <= found[0] <= low + 1e-13
    assert high - 1e-13 <= found[1] <= high + 2 * UNIT


def test_clopper_pearson_covers_by_enumeration():
    trials = 9
    intervals = [clopper_pearson(k, trials) for k in range(trials + 1)]
    for percent in range(1, 100):
        p = Fraction(percent, 100)
        missed = sum(
            math.comb(trials, k) * p**k * (1 - p) ** (trials - k)
            for k, (low, high) in enumerate(intervals)
            if not low <= p <= high
        )
        assert missed <= Fraction(5, 100)


def test_bounds_of_nothing_are_everything():
    assert clopper_pearson(0, 0) == anytime_interval(0, 0) == (0.0, 1.0)
    assert detectable(0) == 1.0
    assert e_values(0, 0, 0.1) == (1.0, 1.0)


@pytest.mark.parametrize(("successes", "trials"), [(0, 40), (1, 40), (20, 40), (39, 40), (40, 40), (3, 500)])
def test_the_anytime_interval_is_where_the_mixture_stays_below_its_limit(successes, trials):
    low, high = anytime_interval(successes, trials)

    def inside(p):
        p = Fraction(p)
        return (trials + 1) * math.comb(trials, successes) * p**successes * (1 - p) ** (trials - successes) > Fraction(
            5, 100
        )

    assert low <= successes / trials <= high
    if successes:
        assert not inside(low)
        assert inside(low + 2 * UNIT)
    if successes < trials:
        assert not inside(high)
        assert inside(high - 2 * UNIT)
    fixed = clopper_pearson(successes, trials)
    assert low <= fixed[0]
    assert fixed[1] <= high


@pytest.mark.parametrize("p", [0.02, 0.3])
def test_looking_after_every_trial_keeps_the_promise(p):
    draw, missed, alarms, runs = random.Random(7), 0, 0, 60
    for _ in range(runs):
        successes, missing, alarm = 0, False, False
        for trials in range(1, 31):
            successes += draw.random() < p
            low, high = anytime_interval(successes, trials)
            missing |= not low <= p <= high
            alarm |= e_values(successes, trials, p)[0] >= 20 or e_values(successes, trials, p)[1] >= 20
        missed, alarms = missed + missing, alarms + alarm
    assert missed <= 0.05 * runs
    assert alarms <= 0.1 * runs  # one of the two, each with at most 1/20


def test_evidence_grows_for_the_truth_only():
    above, below = e_values(72, 100, 0.01)
    assert above > 1e100
    assert below < 1
    above, below = e_values(0, 2000, 0.01)
    assert below > 20 > 1 > above


@pytest.mark.parametrize("trials", [1, 10, 152])
def test_a_detectable_share_is_seen_with_the_stated_power(trials):
    found = Fraction(detectable(trials, 0.8))
    assert 1 - (1 - found) ** trials >= Fraction(8, 10)
    assert 1 - (1 - found + Fraction(2, 2**BITS)) ** trials < Fraction(8, 10)


@pytest.mark.parametrize("call", [clopper_pearson, anytime_interval, e_values])
@pytest.mark.parametrize("given", [(3, 2, 0.5), (-1, 2, 0.5), (1, 2, 0), (1, 2, 1.0)])
def test_impossible_numbers_are_refused(call, given):
    with pytest.raises(ParameterError, match=f"cannot have {given[0]} successes in {given[1]} trials"):
        call(*given)
