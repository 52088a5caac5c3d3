"""Counts of problems in the form that laws need: distinct pairs with weights, and reasons for caution."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from intact._base.errors import ParameterError
from intact.stats.checks import Floats, Integers, problems


class Counts(NamedTuple):
    """Problems grouped by equal counts.

    Attributes
    ----------
    n, c : array
        Numbers of samples and of correct samples.
    weight : array
        Number of problems with each pair.
    place : array
        Index of the pair of each problem.
    """

    n: Integers
    c: Integers
    weight: Floats
    place: Integers

    @property
    def size(self) -> int:
        """The number of problems."""
        return self.place.size

    def resampled(self, rng: np.random.Generator) -> Counts:
        """Return a bootstrap resample of the problems; pairs that are not drawn keep a weight of 0."""
        drawn = self.place[rng.integers(self.size, size=self.size)]
        return self._replace(weight=np.bincount(drawn, minlength=self.n.size).astype(np.float64), place=drawn)

    @property
    def fault(self) -> str | None:
        """The reason why no law can be fitted, or None."""
        n, c = self.n[self.weight > 0], self.c[self.weight > 0]
        if n.max() < 2:
            return "each problem has one sample: differences of rates cannot be separated from chance"
        if not c.any():
            return f"no sample of any of {self.size} problems is right: the rates may be anything small"
        if (c == n).all():
            return f"all samples of all {self.size} problems are right: there is nothing left to scale"
        return None


def sample(n: ArrayLike, c: ArrayLike) -> Counts:
    """Group problems with equal counts.

    Raises
    ------
    ParameterError
        If counts are invalid, all samples are wrong or all correct, or each problem has only one.
    """
    samples, right = problems(n, c)
    pairs, place, weight = np.unique(np.stack([samples, right]), axis=1, return_inverse=True, return_counts=True)
    found = Counts(pairs[0], pairs[1], weight.astype(np.float64), place.ravel())
    if found.fault:
        raise ParameterError(found.fault)
    return found


def cautions(n: ArrayLike, c: ArrayLike) -> tuple[str, ...]:
    """Return reasons to doubt an extrapolation, in words.

    At k = n, coverage misses only problems that were never solved. If there is one such problem, it alone determines
    the tail. If there is none, the tail was not observed. If at least half of the problems are unsolved, the
    extrapolation depends on whether they are solved rarely or never, which the counts do not show.
    """
    samples, right = problems(n, c)
    never = np.flatnonzero(right == 0)
    if not never.size:
        return ("every problem was solved at least once: the share of rarely solved problems is extrapolated",)
    if never.size == 1:
        return (f"problem {never[0]} is the only one never solved: it alone is missing from coverage at k = n",)
    if never.size >= samples.size / 2:
        return (
            f"{never.size} of {samples.size} problems were never solved: rare success and none cannot be distinguished",
        )
    return ()
