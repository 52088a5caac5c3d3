"""Best-of-N, by rewards of steps reduced to one of the whole."""

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
    """Return one reward of a text from those of its steps: the last, the least, the product or the mean.

    The product is taken from left to right; the mean's sum is exact.

    Raises
    ------
    ParameterError
        If there is no step, a reward is not finite, or the reduction is unknown.
    """
    one_of(REDUCTIONS, reduction=how)
    if not rewards or not all(map(math.isfinite, rewards)):
        raise ParameterError(f"rewards must be finite and at least one, got {list(rewards)}")
    return REDUCTIONS[how](rewards)


def best_of_n(rewards: Sequence[float | None]) -> int | None:
    """Return the sample of the largest reward, of equals the first (Cobbe et al. 2021, arXiv 2110.14168).

    None is a reward that is missing; if all are, so is the result.
    """
    return next(iter(ranking(rewards)), None)
