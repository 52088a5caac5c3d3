"""REBASE: how many continuations each node gets, balanced by reward (Wu et al. 2024, arXiv 2408.00724)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from intact._base.errors import ParameterError
from intact._base.exact import ranking
from intact.reason.weights import relative


def allot(rewards: Sequence[float], width: int, temperature: float = 0.2) -> list[int]:
    """Share `width` continuations among open nodes, in proportion to exp(reward / temperature).

    From the best reward to the worst, equals in their order: a node gets `ceil(left e^(R / T) / sum e^(R / T))`, the
    sum over this node and those after it, and what it got and its weight are taken off. The result sums to the width; a
    node that it does not reach gets none. A node that finishes lowers the width of later steps by one, which is up to
    the caller. The division is exact, so equal rewards share as integers do.

    Raises
    ------
    ParameterError
        If the width is below 0, the temperature not above 0, or a reward is not finite.
    """
    if width < 0 or not all(map(math.isfinite, rewards)):
        raise ParameterError(f"a width of at least 0 and finite rewards are needed, got {width} and {list(rewards)}")
    counts = [0] * len(rewards)
    if not rewards:
        return counts
    weights = [Fraction(w) for w in relative(rewards, temperature)]
    left, mass = width, sum(weights, Fraction(0))
    for i in ranking(rewards):
        if not mass:
            break
        counts[i] = math.ceil(left * weights[i] / mass)
        left -= counts[i]
        mass -= weights[i]
    return counts
