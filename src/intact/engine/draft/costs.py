"""What a step costs by its number of rows, learnt from the steps themselves."""

from __future__ import annotations

import math

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
        self._steps = 0
        self._seen: dict[int, tuple[float, int, int]] = {}  # by place in the grid: correction, how often, when

    def observe(self, rows: int, seconds: float) -> None:
        """A step took so long. After the first, one that took twice as long as expected counts as twice."""
        place = int(self._index[min(rows, LARGEST)])
        value = math.log(max(seconds, 1e-9) / (1 + SLOPE * (rows - 1)))
        self._steps += 1
        before, count, _ = self._seen.get(place, (value, 0, 0))
        change = min(value - before, math.log(2))
        self._seen[place] = before + change / min(count + 1, 4), count + 1, self._steps

    def freshness(self, rows: int) -> float:
        """1 for a number of rows that was just measured, falling to 0."""
        seen = self._seen.get(int(self._index[min(rows, LARGEST)]))
        return math.exp((seen[2] - self._steps) / MEMORY) if seen else 0.0

    def seconds(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """The cost of steps; relative, before anything was measured."""
        hope = 1 + SLOPE * (rows.astype(np.float64) - 1)
        if not self._seen:
            return hope
        value, _, when = np.array(list(self._seen.values())).T
        near = self._nearness[self._index[np.minimum(rows, LARGEST)]][:, list(self._seen)]
        weights = near * np.exp(np.maximum((when - self._steps) / MEMORY, -600))
        seconds: NDArray[np.float64] = hope * np.exp((weights @ value) / weights.sum(axis=1))
        return seconds
