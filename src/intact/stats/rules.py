"""Chances of claims that rules tie together, corrected exactly by counting all worlds.

Source: COLEP, arXiv 2403.11348, its reasoning component. A world says of each claim if it is true. With p_j the chance
that a claim was given on its own, a world mu has the factor

    F(mu) = prod_j p_j(mu_j) * exp(sum_k w_k [mu obeys rule k]),

and the corrected chance of claim j is the share of all factors that worlds have in which it is true. A rule of weight 0
says nothing; one of infinite weight conditions on being obeyed. COLEP's circuits are tables of these factors, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import product
from typing import NamedTuple

from intact._base.errors import ParameterError
from intact._base.exact import Number, exp, written

MOST_CLAIMS = 16
"""Some seconds: 65,536 worlds, each a product of exact numbers."""


class WeightedRule(NamedTuple):
    """A statement about a world, and what it is worth to obey it.

    Attributes
    ----------
    obeyed : callable
        If true of a world, a tuple with a bool for each claim, the world obeys the rule.
    weight : float
        In nats, 0 or more: a world that breaks the rule counts `exp(-weight)` times as much. Infinite: not at all.
    """

    obeyed: Callable[[tuple[bool, ...]], bool]
    weight: float = math.inf


def implies(first: int, then: int, weight: float = math.inf) -> WeightedRule:
    """Return the rule that the claim `then` is true where the claim `first` is, by their places."""
    return WeightedRule(lambda world: world[then] or not world[first], weight)


def exactly_one(places: Sequence[int], weight: float = math.inf) -> WeightedRule:
    """Return the rule that of the claims at these places one is true, such as a claim and its negation."""
    return WeightedRule(lambda world: sum(world[place] for place in places) == 1, weight)


def corrected(chances: Sequence[Number], rules: Sequence[WeightedRule]) -> list[Fraction]:
    """Return the corrected chance of each claim; exact, with `exp(-weight)` rounded to the nearest double.

    A claim given 0.8 and its negation given 0.4 are not at odds but say different things: together 6/7.

    >>> [str(chance) for chance in corrected([0.8, 0.4], [exactly_one((0, 1))])]
    ['6/7', '1/7']

    Parameters
    ----------
    chances : sequence of numbers, one for each claim
        In [0, 1]; a double is the decimal that is written.
    rules : sequence of WeightedRule
        Over the claims' places.

    Raises
    ------
    ParameterError
        If there is no claim or too many of them, a chance does not lie in [0, 1], a weight is negative, or no world
        that is possible obeys all rules of infinite weight.
    """
    if not 1 <= len(chances) <= MOST_CLAIMS:
        raise ParameterError(f"there must be 1 to {MOST_CLAIMS} claims, got {len(chances)}")
    exact = [written(chance, f"the chance of claim {place}") for place, chance in enumerate(chances)]
    for place, chance in enumerate(exact):
        if not 0 <= chance <= 1:
            raise ParameterError(f"chances of claims lie in [0, 1], got {float(chance)} for claim {place}")
    for place, rule in enumerate(rules):
        if not rule.weight >= 0:
            raise ParameterError(f"weights of rules are 0 or more, got {rule.weight} for rule {place}")
    # integers: what is common to all worlds cancels, as do the denominators
    sides = [(one.denominator - one.numerator, one.numerator) for one in exact]
    worths = [exp(-rule.weight).as_integer_ratio() for rule in rules]
    whole, true = 0, [0] * len(exact)
    for world in product((False, True), repeat=len(exact)):
        factor = math.prod(side[held] for side, held in zip(sides, world, strict=True))
        if not factor:
            continue
        for rule, (broken, obeyed) in zip(rules, worths, strict=True):
            factor *= obeyed if rule.obeyed(world) else broken
        whole += factor
        for place, held in enumerate(world):
            true[place] += held * factor
    if not whole:
        raise ParameterError("no world obeys all rules of infinite weight: the chances of claims contradict them")
    return [Fraction(part, whole) for part in true]
