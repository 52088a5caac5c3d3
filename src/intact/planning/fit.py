"""Fit the rates of a machine to measured steps: non-negative least squares of relative errors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from intact.errors import ParameterError
from intact.planning.machines import Rates
from intact.planning.work import Segment


class Observation(NamedTuple):
    """A measured time.

    Attributes
    ----------
    work : Segment
        What was computed in it.
    messages, moved : float
        Sent and received by exchanges, and their bytes.
    steps : float
        Of rank 0; 0 on other ranks.
    seconds : float
        What it took.
    """

    work: Segment
    messages: float
    moved: float
    steps: float
    seconds: float

    @property
    def terms(self) -> tuple[float, ...]:
        """The factors of the fields of `Rates`."""
        return (*self.work, self.messages, self.moved, self.steps)

    def predict(self, rates: Rates) -> float:
        """Return the seconds that rates give it."""
        return float(np.dot(self.terms, rates))


def fit_rates(observations: Sequence[Observation], fixed: Rates | None = None) -> Rates:
    """Return the rates whose predictions have the least sum of squared relative errors, none negative.

    All choices of the rates that are not 0 are tried, so that the least is found.

    Parameters
    ----------
    fixed : Rates, optional
        Their `message`, `copy` and `step` are taken as they are, and only the others fitted.

    Raises
    ------
    ParameterError
        If there are none, or none took any time.
    """
    taken = [one for one in observations if one.seconds > 0]
    if not taken:
        raise ParameterError("no step took any time: measure more tokens")
    seconds = np.array([one.seconds for one in taken])
    terms = np.array([one.terms for one in taken], float) / seconds[:, None]
    target, free = np.ones(len(taken)), len(Rates._fields)
    if fixed is not None:
        free -= 3
        target -= terms[:, free:] @ np.array(fixed[free:])
    scale = np.maximum(np.abs(terms).max(axis=0), 1e-300)
    best, least = np.zeros(free), float("inf")
    for size in range(1, free + 1):
        for chosen in combinations(range(free), size):
            columns = list(chosen)
            values = np.linalg.lstsq(terms[:, columns] / scale[columns], target, rcond=None)[0]
            loss = float(np.square(terms[:, columns] / scale[columns] @ values - target).sum())
            if (values >= 0).all() and loss < least * (1 - 1e-9):
                best, least = np.zeros(free), loss
                best[columns] = values / scale[columns]
    return Rates(*best.tolist(), *(fixed[free:] if fixed is not None else ()))
