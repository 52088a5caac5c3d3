"""Fit the rates of a machine to measured steps: non-negative least squares of relative errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from intact._base.errors import ParameterError
from intact.measure.planning.machines import Rates
from intact.measure.planning.work import Segment


class Observation(NamedTuple):
    """A measured time.

    Attributes
    ----------
    work : Segment
        The work computed in this time.
    seconds : float
        The measured time.
    messages, moved : float
        Messages that exchanges sent and received, and their bytes.
    hub, spoke : float
        Exchanges on rank 0, and on another rank.
    rows : float
        Bytes of the whole rows of exchanges.
    steps : float
        Steps of rank 0; 0 on other ranks.
    """

    work: Segment
    seconds: float
    messages: float = 0.0
    moved: float = 0.0
    hub: float = 0.0
    spoke: float = 0.0
    rows: float = 0.0
    steps: float = 0.0

    @property
    def terms(self) -> tuple[float, ...]:
        """The coefficients of the fields of `Rates`."""
        return (*self.work, self.messages, self.moved, self.hub, self.spoke, self.rows, self.steps)

    def predict(self, rates: Rates) -> float:
        """Return the time that these rates predict, in seconds."""
        return float(np.dot(self.terms, rates))


def fit_rates(observations: Sequence[Observation], fixed: Mapping[str, float] | None = None) -> Rates:
    """Return the non-negative rates whose predictions minimise the sum of squared relative errors.

    Every subset of nonzero rates is tried, so the minimum is found.

    Parameters
    ----------
    fixed : mapping of str to float, optional
        Fields of `Rates` with given values; only the other fields are fitted.

    Raises
    ------
    ParameterError
        If there are no observations, or all times are 0.
    """
    taken = [one for one in observations if one.seconds > 0]
    if not taken:
        raise ParameterError("no step took any time: measure more tokens")
    seconds = np.array([one.seconds for one in taken])
    terms = np.array([one.terms for one in taken], float) / seconds[:, None]
    known = np.array([(fixed or {}).get(name, 0.0) for name in Rates._fields])
    target = 1.0 - terms @ known
    free = [i for i, name in enumerate(Rates._fields) if name not in (fixed or {}) and terms[:, i].any()]
    scale = np.maximum(np.abs(terms).max(axis=0), 1e-300)
    best, least = known, float(np.square(target).sum())
    for size in range(1, len(free) + 1):
        for chosen in combinations(free, size):
            columns = list(chosen)
            values = np.linalg.lstsq(terms[:, columns] / scale[columns], target, rcond=None)[0]
            loss = float(np.square(terms[:, columns] / scale[columns] @ values - target).sum())
            if (values >= 0).all() and loss < least * (1 - 1e-9):
                best, least = known.copy(), loss
                best[columns] = values / scale[columns]
    return Rates(*best.tolist())
