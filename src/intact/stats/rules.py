"""Correct the probabilities of claims linked by rules, exactly, by enumerating all worlds.

Source: the reasoning component of COLEP, arXiv 2403.11348. A world assigns true or false to each claim. With p_j the
probability assigned to claim j on its own, a world mu has the factor

    F(mu) = prod_j p_j(mu_j) * exp(sum_k w_k [mu obeys rule k]),

and the corrected probability of claim j is the share of the total factor that belongs to worlds in which it is true. A
rule of weight 0 has no effect; one of infinite weight conditions on being obeyed. COLEP's circuits are tables of these
factors, too.
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
"""Maximum number of claims. The maximum takes a few seconds: 65,536 worlds, each a product of exact numbers."""


class WeightedRule(NamedTuple):
    """A statement about a world, with the weight of obeying it.

    Attributes
    ----------
    obeyed : callable
        Takes a world, a tuple with a bool for each claim; returns true if the world obeys the rule.
    weight : float
        In nats, 0 or more: a world that violates the rule counts `exp(-weight)` times as much, and not at all if the
        weight is infinite.
    """

    obeyed: Callable[[tuple[bool, ...]], bool]
    weight: float = math.inf


def implies(first: int, then: int, weight: float = math.inf) -> WeightedRule:
    """Return the rule that claim `then` is true if claim `first` is, by index."""
    return WeightedRule(lambda world: world[then] or not world[first], weight)


def exactly_one(places: Sequence[int], weight: float = math.inf) -> WeightedRule:
    """Return the rule that exactly one of the claims at these indices is true, such as a claim and its negation."""
    return WeightedRule(lambda world: sum(world[place] for place in places) == 1, weight)


def corrected(chances: Sequence[Number], rules: Sequence[WeightedRule]) -> list[Fraction]:
    """Return the corrected probability of each claim; exact, with `exp(-weight)` rounded to the nearest double.

    A claim given 0.8 and its negation given 0.4 do not contradict each other; combined they give 6/7.

    >>> [str(chance) for chance in corrected([0.8, 0.4], [exactly_one((0, 1))])]
    ['6/7', '1/7']

    Parameters
    ----------
    chances : sequence of numbers, one for each claim
        In [0, 1]; a float means its shortest decimal.
    rules : sequence of WeightedRule
        Rules over the claims' indices.

    Raises
    ------
    ParameterError
        If there are no claims or too many, a probability is not in [0, 1], a weight is negative, or no possible world
        obeys all rules of infinite weight.
    """
    if not 1 <= len(chances) <= MOST_CLAIMS:
        raise ParameterError(f"there must be from 1 to {MOST_CLAIMS} claims, got {len(chances)}")
    exact = [written(chance, f"the chance of claim {place}") for place, chance in enumerate(chances)]
    for place, chance in enumerate(exact):
        if not 0 <= chance <= 1:
            raise ParameterError(f"probabilities of claims must lie in [0, 1], got {float(chance)} for claim {place}")
    for place, rule in enumerate(rules):
        if not rule.weight >= 0:
            raise ParameterError(f"weights of rules must be at least 0, got {rule.weight} for rule {place}")
    # integers: factors common to all worlds cancel, and so do the denominators
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
        raise ParameterError(
            "no world satisfies all rules of infinite weight: they contradict the probabilities of the claims"
        )
    return [Fraction(part, whole) for part in true]
