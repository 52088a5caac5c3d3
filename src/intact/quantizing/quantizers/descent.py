"""Coordinate descent on the error of the products: change one level of a row at a time until no change lowers it.

With E the error of a row and H the second moments, E H ET changes by 2 c (H E)_k + c^2 H_kk when column k's value
changes by c. All arithmetic is in float64, one operation at a time in a fixed order, as in
`intact.quantizing.quantizers.columns`: the native `descend` must equal `define_descend`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact import _native
from intact._base.exact import total
from intact._base.system import processors
from intact.numerics.grids import NumberGrid
from intact.quantizing.quantizers.base import InputStatistics
from intact.quantizing.quantizers.fixed import FRACTION, FixedRows, Floats, Int, nearest_level
from intact.quantizing.quantizers.gptq import damped
from intact.quantizing.quantizers.nearest import Steps

SWEEPS: Final = 32
"""Maximum number of sweeps over all columns."""


class Rounding(NamedTuple):
    """Rows to round, with the steps and offsets of their blocks: float64 (N, K) each."""

    wanted: Floats
    """The values to round; 0 for inputs that were always 0."""
    step: Floats
    offset: Floats
    h: Floats
    """(K, K): symmetric, with a positive diagonal."""
    grid: NumberGrid

    def values(self, levels: Floats) -> Floats:
        """Return the values that levels represent."""
        return levels * self.step + self.offset

    def neighbours(self) -> tuple[Floats, Floats]:
        """Return the levels below and above each value; a value on a level gets that level and the next.

        For a value outside the grid, both are the outermost level on its side.
        """
        known = np.array(self.grid.levels, np.float64)
        below = np.searchsorted(known, (self.wanted - self.offset) / self.step, side="right") - 1
        return known[np.maximum(below, 0)], known[np.minimum(below + 1, len(known) - 1)]

    def nearest(self) -> Floats:
        """Return the levels nearest to the values."""
        return nearest_level((self.wanted - self.offset) / self.step, self.grid)

    def part(self, rows: Int) -> Rounding:
        """Return the problem restricted to some rows."""
        return self._replace(wanted=self.wanted[rows], step=self.step[rows], offset=self.offset[rows])


def rounding_of(
    rows: FixedRows, steps: Steps, columns: int, width: int, inputs: InputStatistics, grid: NumberGrid
) -> Rounding:
    """Build the rounding problem of a matrix, with its steps and damped second moments."""
    step, offset = (np.repeat(a, width, axis=1)[:, :columns] for a in (steps.step, steps.offset))
    h, dead = damped(inputs.second, columns)
    wanted = rows.x[:, :columns].copy()
    wanted[:, dead] = 0
    return Rounding(wanted, step, offset, h, grid=grid)


def mean_error(errors: Floats, rows: FixedRows, inputs: InputStatistics) -> float:
    """Convert the rows' errors, each in the row's own units, to the proxy error of the matrix."""
    scaled = errors * np.ldexp(1.0, 2 * (rows.exponent - FRACTION))
    return total(scaled.tolist()) * 2.0 ** (2 * inputs.exponent) / inputs.rows


def descend(problem: Rounding, levels: Floats, low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Lower the error of rows by coordinate descent: move each column in order to its best level, and repeat.

    With all others fixed, a column's best level is the one nearest to the zero of the error's slope, within its bounds;
    it is used if the error decreases. A row is done when no column changes, or after `SWEEPS` sweeps.

    Parameters
    ----------
    levels, low, high : float64 (N, K)
        Levels of the grid to start from, and the lowest and highest level of each column.

    Returns
    -------
    levels : float64 (N, K)
    errors : float64 (N,)
        E H ET of each row.
    """
    arrays = (levels, problem.wanted, problem.step, problem.offset, low, high, problem.h)
    start, wanted, step, offset, least, most, h = map(np.ascontiguousarray, arrays)
    known, even = np.array(problem.grid.levels, np.float64), problem.grid.even
    return _native.descend(start, wanted, step, offset, least, most, h, known, even, SWEEPS, processors())


def define_descend(problem: Rounding, levels: Floats, low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Reference implementation of `descend`."""
    levels, errors = levels.copy(), np.zeros(len(levels))
    slope = _times(problem.values(levels) - problem.wanted, problem.h)
    going = np.arange(len(levels))
    for _ in range(SWEEPS):
        changed = _once(problem.part(going), levels, slope, going, low=low[going], high=high[going])
        going = going[changed]
    error = problem.values(levels) - problem.wanted
    slope = _times(error, problem.h)
    for k in range(error.shape[1]):
        errors += error[:, k] * slope[:, k]
    return levels, errors


def _times(error: Floats, h: Floats) -> Floats:
    """Return the product of error and H, adding the products column by column."""
    slope = np.zeros(error.shape)
    for k in range(error.shape[1]):
        slope += error[:, k, None] * h[k]
    return slope


def _once(problem: Rounding, levels: Floats, slope: Floats, going: Int, low: Floats, high: Floats) -> NDArray[np.bool_]:
    """Sweep once over the columns of the rows `going`; return true for rows that changed.

    Levels and slopes are updated in place.
    """
    changed = np.zeros(len(going), np.bool_)
    for k in range(levels.shape[1]):
        step, offset, diagonal = problem.step[:, k], problem.offset[:, k], problem.h[k, k]
        old, by = levels[going, k], slope[going, k]
        target = old * step + offset - by / diagonal
        new = np.clip(nearest_level((target - offset) / step, problem.grid), low[:, k], high[:, k])
        move = (new - old) * step
        better = np.flatnonzero(move * (2 * by + move * diagonal) < 0)
        if better.size:
            rows = going[better]
            levels[rows, k] = new[better]
            slope[rows] += move[better, None] * problem.h[k]
            changed[better] = True
    return changed
