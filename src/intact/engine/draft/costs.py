"""What a step costs by its number of rows, learnt from the steps themselves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EXACT, LARGEST = 64, 1024
SLOPE = 0.06
"""What a second row is first believed to add: so little that it is soon tried."""
REACH = 0.1
"""Over which ratio of rows (a logarithm) one measurement speaks for another count."""
MEMORY = 40.0
"""After so many steps a measurement has faded to 1 / e."""


class Costs:
    """Seconds of a step of so many rows: a smooth correction of `1 + SLOPE * (rows - 1)`, in logarithms.

    The correction at a number of rows is the mean of what was measured, weighted by 1 / (1 + (distance / REACH)^4) and
    exp(-age / MEMORY): a measurement that has grown old yields to its fresh neighbours, and so to the hope in SLOPE.
    """

    def __init__(self) -> None:
        steps = int(np.log(LARGEST / EXACT) / (REACH / 2)) + 1
        grid = np.unique([*range(1, EXACT), *np.geomspace(EXACT, LARGEST, steps).round().astype(int)])
        self._index = np.searchsorted((grid[1:] + grid[:-1]) / 2, np.arange(LARGEST + 1))  # of the nearest
        logs = np.log(grid)
        self._nearness = 1 / (1 + (np.abs(logs[:, None] - logs) / REACH) ** 4)
        self._value, self._count, self._fresh = np.zeros((3, len(grid)))

    def observe(self, rows: int, seconds: float) -> None:
        """A step took so long. After the first, one that took twice as long as expected counts as twice."""
        i = self._index[min(rows, LARGEST)]
        value = np.log(max(seconds, 1e-9)) - np.log1p(SLOPE * (rows - 1))
        change = value - self._value[i]
        if self._count[i]:
            change = min(change, np.log(2.0))
        self._count[i] += 1
        self._value[i] += change / min(self._count[i], 4)
        self._fresh *= np.exp(-1 / MEMORY)
        self._fresh[i] = 1.0

    def freshness(self, rows: int) -> float:
        """1 for a number of rows that was just measured, falling to 0."""
        return float(self._fresh[self._index[min(rows, LARGEST)]])

    def seconds(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """The cost of steps; relative, before anything was measured."""
        nearness = self._nearness[self._index[np.minimum(rows, LARGEST)]]
        correction = (nearness @ (self._fresh * self._value)) / np.maximum(nearness @ self._fresh, 1e-300)
        seconds: NDArray[np.float64] = np.exp(correction) * (1 + SLOPE * (rows - 1))
        return seconds
