"""Best-of-N, with step rewards reduced to one reward per completion."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, TypeAlias

from intact._base.errors import ParameterError
from intact._base.exact import mean, ranking
from intact.reason.limits import Need, Needs, one_of

REDUCTIONS: dict[str, Callable[[Sequence[float]], float]] = {
    "last": lambda rewards: rewards[-1],
    "min": min,
    "prod": math.prod,
    "mean": mean,
}
_STEPS = Need(parts=True)
Reduction: TypeAlias = Annotated[
    str, partial(one_of, REDUCTIONS), Needs(min=_STEPS, mean=_STEPS, prod=Need(0, parts=True))
]


def reduce(rewards: Sequence[float], how: str) -> float:
    """Reduce the rewards of a completion's steps to one: the last, the minimum, the product or the mean.

    The product is computed from left to right; the sum for the mean is exact.

    Raises
    ------
    ParameterError
        If there are no steps, a reward is not finite, or the reduction is unknown.
    """
    one_of(REDUCTIONS, reduction=how)
    if not rewards or not all(map(math.isfinite, rewards)):
        raise ParameterError(f"rewards must be finite and not empty, got {list(rewards)}")
    return REDUCTIONS[how](rewards)


def best_of_n(rewards: Sequence[float | None]) -> int | None:
    """Return the index of the largest reward; ties go to the first (Cobbe et al. 2021, arXiv 2110.14168).

    None marks a missing reward; if all are missing, the result is None.
    """
    return next(iter(ranking(rewards)), None)
