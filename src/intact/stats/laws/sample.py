"""Counts of problems as laws take them: distinct pairs, weighted, and what to be cautious of."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from intact.errors import ParameterError
from intact.stats.checks import Floats, Integers, problems


class Counts(NamedTuple):
    """Problems with equal counts taken together.

    Attributes
    ----------
    n, c : array
        Samples, and right ones.
    weight : array
        How many problems have them.
    place : array
        The pair of each problem.
    """

    n: Integers
    c: Integers
    weight: Floats
    place: Integers

    @property
    def size(self) -> int:
        """How many problems there are."""
        return self.place.size

    def resampled(self, rng: np.random.Generator) -> Counts:
        """As many problems, drawn with replacement; those that are not drawn stay with weight 0."""
        drawn = self.place[rng.integers(self.size, size=self.size)]
        return self._replace(weight=np.bincount(drawn, minlength=self.n.size).astype(np.float64), place=drawn)

    @property
    def fault(self) -> str | None:
        """Why no law can be fitted, if so."""
        n, c = self.n[self.weight > 0], self.c[self.weight > 0]
        if n.max() < 2:
            return "each problem has one sample: how rates differ cannot be told from luck"
        if not c.any():
            return f"no sample of any of {self.size} problems is right: the rates may be anything small"
        if (c == n).all():
            return f"all samples of all {self.size} problems are right: there is nothing left to scale"
        return None


def sample(n: ArrayLike, c: ArrayLike) -> Counts:
    """Take problems with equal counts together.

    Raises
    ------
    ParameterError
        If counts make no sense, or all samples are wrong, all right, or one for each problem.
    """
    samples, right = problems(n, c)
    pairs, place, weight = np.unique(np.stack([samples, right]), axis=1, return_inverse=True, return_counts=True)
    found = Counts(pairs[0], pairs[1], weight.astype(np.float64), place.ravel())
    if found.fault:
        raise ParameterError(found.fault)
    return found


def cautions(n: ArrayLike, c: ArrayLike) -> tuple[str, ...]:
    """What makes an extrapolation doubtful, in words.

    With k as large as n, all that is missing from coverage is missing because of problems that were never solved. If it
    is one, the tail is that problem's; if there is none, the tail was not seen; if it is half of all, whether they are
    rarely or never solved decides everything, and cannot be told.
    """
    samples, right = problems(n, c)
    never = np.flatnonzero(right == 0)
    if not never.size:
        return ("every problem was solved at least once: how many are rarely solved is the family's guess",)
    if never.size == 1:
        return (f"problem {never[0]} alone was never solved: all that is missing from coverage at k = n is its",)
    if never.size >= samples.size / 2:
        return (f"{never.size} of {samples.size} problems were never solved: rarely or never cannot be told apart",)
    return ()
