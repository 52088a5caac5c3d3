"""Claims under rules: conditioning as the limit, the posterior of independent observations, the paper's formula."""

import math
from fractions import Fraction
from itertools import permutations, product

import pytest

from intact._base.errors import ParameterError
from intact.stats.rules import MOST_CLAIMS, WeightedRule, corrected, exactly_one, implies

CHANCES = [Fraction(7, 10), Fraction(2, 5), Fraction(9, 10), Fraction(1, 4)]
STATEMENTS = [
    lambda world: world[0] != world[1],
    lambda world: world[0] or not world[2],
    lambda world: sum(world[1:]) == 1,
]
"""Some rules, written without the functions under test."""


def made(weight):
    return [exactly_one((0, 1), weight), implies(2, 0, weight), exactly_one((1, 2, 3), weight)]


def own(world):
    """The chance of a world without any rule."""
    return math.prod(p if held else 1 - p for p, held in zip(CHANCES, world, strict=True))


def conditioned():
    """The chances, given that all rules are obeyed."""
    worlds = [world for world in product((False, True), repeat=4) if all(rule(world) for rule in STATEMENTS)]
    whole = sum(map(own, worlds))
    return [sum(own(world) for world in worlds if world[place]) / whole for place in range(4)]


def test_rules_of_infinite_weight_condition():
    assert corrected(CHANCES, made(math.inf)) == conditioned()


def test_growing_weights_approach_conditioning():
    limit = conditioned()
    gaps = [
        max(abs(a - b) for a, b in zip(corrected(CHANCES, made(weight)), limit, strict=True))
        for weight in (0, 1, 2, 4, 8, 16, 32, 64)
    ]
    assert gaps == sorted(gaps, reverse=True)
    assert 0 < gaps[-1] < 1e-26
    assert corrected(CHANCES, made(800)) == limit  # e^-800 is no double


def test_without_rules_or_with_rules_of_no_weight_nothing_changes():
    assert corrected(CHANCES, []) == corrected(CHANCES, made(0)) == CHANCES


@pytest.mark.parametrize("weights", [(0.5, 2, 1), (3, 0, 7), (math.inf, 1, 0.25)])
def test_factors_are_those_of_the_paper(weights):
    """With exp(w) for a rule that is obeyed, in floats; a weight that is infinite is 700 there."""
    rules = [rule._replace(weight=weight) for rule, weight in zip(made(1), weights, strict=True)]
    factors = {
        world: math.exp(
            sum(math.log(p if held else 1 - p) for p, held in zip(CHANCES, world, strict=True))
            + sum(min(w, 700) * rule(world) for w, rule in zip(weights, STATEMENTS, strict=True))
        )
        for world in product((False, True), repeat=4)
    }
    whole = sum(factors.values())
    expected = [sum(factor for world, factor in factors.items() if world[place]) / whole for place in range(4)]
    assert list(map(float, corrected(CHANCES, rules))) == pytest.approx(expected)


def test_a_correction_is_the_posterior_where_claims_are_observed_independently():
    """All worlds that obey the rules are equally likely; each claim is seen through a noisy sensor of its own."""
    accuracy = [Fraction(9, 10), Fraction(3, 5), Fraction(4, 5)]
    rules = [implies(0, 1), exactly_one((1, 2))]
    worlds = [w for w in product((False, True), repeat=3) if (w[1] or not w[0]) and w[1] != w[2]]
    for seen in product((False, True), repeat=3):
        chances = [a if flag else 1 - a for a, flag in zip(accuracy, seen, strict=True)]
        likelihoods = {
            world: math.prod(a if x == y else 1 - a for a, x, y in zip(accuracy, world, seen, strict=True))
            for world in worlds
        }
        whole = sum(likelihoods.values())
        posterior = [sum(p for world, p in likelihoods.items() if world[place]) / whole for place in range(3)]
        assert corrected(chances, rules) == posterior


def test_the_order_of_claims_does_not_matter():
    whole = corrected(CHANCES, made(1.5))
    for order in permutations(range(4)):
        place = {claim: i for i, claim in enumerate(order)}
        rules = [
            exactly_one((place[0], place[1]), 1.5),
            implies(place[2], place[0], 1.5),
            exactly_one([place[1], place[2], place[3]], 1.5),
        ]
        found = corrected([CHANCES[claim] for claim in order], rules[::-1])
        assert [found[place[claim]] for claim in range(4)] == whole


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], []), "1 to 16 claims, got 0"),
        (([0.5] * (MOST_CLAIMS + 1), []), "got 17"),
        (([0.5, 1.2], []), "got 1.2 for claim 1"),
        (([0.5, math.nan], []), "the chance of claim 1"),
        (([0.5, 0.5], [implies(0, 1, -1)]), "got -1 for rule 0"),
        (([0.5, 0.5], [implies(0, 1, math.nan)]), "got nan for rule 0"),
        (([1, 1], [exactly_one((0, 1))]), "no world satisfies all rules"),
        (([0.5], [WeightedRule(lambda world: False)]), "no world satisfies all rules"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(ParameterError, match=message):
        corrected(*arguments)
