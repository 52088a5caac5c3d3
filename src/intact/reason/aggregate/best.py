"""Best-of-N, by rewards of steps reduced to one of the whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Annotated, TypeAlias, TypeVar

from intact.errors import ParameterError
from intact.reason.exact import mean
from intact.reason.limits import one_of

A = TypeVar("A", bound=Hashable)

REDUCTIONS: dict[str, Callable[[Sequence[float]], float]] = {
    "last": lambda rewards: rewards[-1],
    "min": min,
    "prod": math.prod,
    "mean": mean,
}
Reduction: TypeAlias = Annotated[str, partial(one_of, REDUCTIONS)]


def reduce(rewards: Sequence[float], how: str) -> float:
    """One reward of a text from those of its steps: the last, the least, the product or the mean.

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


def ranking(rewards: Sequence[float | None]) -> list[int]:
    """Samples from the best to the worst, equals in the order of samples; those without a reward are left out.

    Raises
    ------
    ParameterError
        If a reward is not a number.
    """
    known = {i: reward for i, reward in enumerate(rewards) if reward is not None}
    for i, reward in known.items():
        if math.isnan(reward):
            raise ParameterError(f"the reward of sample {i} is not a number")
    return sorted(known, key=lambda i: (-known[i], i))


def best_of_n(rewards: Sequence[float | None]) -> int | None:
    """The sample of the largest reward, of equals the first (Cobbe et al. 2021, arXiv 2110.14168).

    None is a reward that is missing; if all are, so is the result.
    """
    return next(iter(ranking(rewards)), None)
