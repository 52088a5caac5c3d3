"""Predictions of pairs: identities and bounds, by enumeration of a finite world with a calibrated predictor."""

from fractions import Fraction

import pytest

from intact._base.errors import ParameterError
from intact.stats.pairs import pair_confidence, pair_radius, pair_variance
from support.pairs import WORLD, alone, informed

CASES = [(group, y) for group in WORLD for y in alone(group)]


def true_chances(group, answer):
    return [law.get(answer, Fraction(0)) for law in WORLD[group]]


def test_the_predictor_is_calibrated_for_pairs():
    """Over the questions of a group, pairs of independent answers come as often as it says."""
    for group, laws in WORLD.items():
        assert sum(alone(group).values()) == 1
        for first, p in alone(group).items():
            assert sum(informed(group, first).values()) == 1
            for second in "abc":
                pairs = [law.get(first, Fraction(0)) * law.get(second, Fraction(0)) for law in laws]
                assert p * informed(group, first).get(second, 0) == sum(pairs) / len(laws)


@pytest.mark.parametrize(("group", "answer"), CASES)
def test_the_variance_is_the_mean_squared_error(group, answer):
    first, chances = alone(group)[answer], true_chances(group, answer)
    squares = [(first - chance) ** 2 for chance in chances]
    assert pair_variance(first, informed(group, answer)[answer]) == sum(squares) / len(squares)


@pytest.mark.parametrize("level", [0.5, 0.75, 0.9, 0.99])
@pytest.mark.parametrize(("group", "answer"), CASES)
def test_the_true_chance_lies_within_the_radius_as_often_as_stated(group, answer, level):
    first, chances = alone(group)[answer], true_chances(group, answer)
    radius = pair_radius(first, informed(group, answer)[answer], level)
    assert sum(abs(first - chance) <= radius for chance in chances) >= level * len(chances)


@pytest.mark.parametrize(("group", "answer"), CASES)
def test_an_impossible_answer_is_given_no_more_often_than_the_confidence_allows(group, answer):
    chances = true_chances(group, answer)
    confidence = pair_confidence(alone(group)[answer], informed(group, answer)[answer])
    assert Fraction(sum(not chance for chance in chances), len(chances)) <= 1 - confidence
    assert (confidence == 1) == (len(set(chances)) == 1)  # who knows does not cheat


def test_the_bound_is_attained_where_possible_answers_are_equally_likely():
    law = {0: Fraction(1, 3), 1: Fraction(2, 3)}  # p(y | x) is 0 with a chance of 1/3, else 1/2
    first, square = law[1] / 2, law[1] / 4
    assert 1 - pair_confidence(first, square / first) == law[0]


def test_of_a_model_that_is_not_calibrated_no_variance_is_known():
    assert pair_confidence(0.5, 0.25) == 1
    assert pair_confidence(0, 0) == pair_confidence(0, 0.5) == 0
    with pytest.raises(ParameterError, match=r"must not decrease once the answer is given .*: 0\.5, then 0\.25"):
        pair_variance(0.5, 0.25)


@pytest.mark.parametrize("call", [pair_variance, pair_radius, pair_confidence])
def test_what_cannot_be_is_refused(call):
    for chances in ((-0.1, 0.5), (0.5, 1.5), (float("nan"), 0.5)):
        with pytest.raises(ParameterError, match=r"lie in \[0, 1\]"):
            call(*chances)
    with pytest.raises(ParameterError, match="level must lie between 0 and 1, got 1"):
        pair_radius(0.25, 0.5, 1)
