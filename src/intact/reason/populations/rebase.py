"""REBASE: allocates continuations to nodes, balanced by reward (Wu et al. 2024, arXiv 2408.00724)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from intact._base.errors import ParameterError
from intact._base.exact import ranking
from intact.reason.weights import relative


def allot(rewards: Sequence[float], width: int, temperature: float = 0.2) -> list[int]:
    """Allocate `width` continuations to open nodes, in proportion to exp(reward / temperature).

    From the best reward to the worst, with ties in order, a node gets `ceil(left e^(R / T) / sum e^(R / T))`, where the
    sum runs over this node and those after it; then its share and its weight are subtracted. The result sums to the
    width; the last nodes may get none. A node that finishes lowers the width of later steps by one, which is left to
    the caller. The division is exact, so equal rewards share as integers do.

    Raises
    ------
    ParameterError
        If the width is below 0, the temperature is not above 0, or a reward is not finite.
    """
    if width < 0 or not all(map(math.isfinite, rewards)):
        raise ParameterError(
            f"the width must be at least 0 and rewards must be finite, got {width} and {list(rewards)}"
        )
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
