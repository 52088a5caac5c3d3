"""Convert rows of floats to integers, and integers to the nearest levels of a grid, so that errors compare exactly."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ModelError
from intact.numerics.grids import NumberGrid

Int = NDArray[np.int64]
Floats = NDArray[np.float64]
FRACTION: Final = 22
"""Fraction bits of a row's integers below its exponent."""
SCALE_MAX: Final = 32767


class Blocks(NamedTuple):
    """Rows as integers, cut into blocks that share a scale: the argument of a scale rule."""

    x: Floats
    """(N, blocks, inputs): integers stored as floats."""
    exponent: Int
    """(N,): as in `FixedRows`. Needed by rules that consider the whole matrix; rules that consider single rows ignore
    it.
    """


class FixedRows(NamedTuple):
    """Rows in units of 2^(exponent - 22): |x| <= 2^22."""

    x: Floats
    """(N, K padded to a multiple of 32): integers stored as floats."""
    exponent: Int
    """(N,): the least E with |x| < 2^E; 0 for a row of zeros."""

    def blocks(self, width: int) -> Blocks:
        """Cut the rows into blocks of `width` inputs."""
        return Blocks(self.x.reshape(len(self.x), -1, width), self.exponent)


def fix_rows(matrix: NDArray[np.float32]) -> FixedRows:
    """Round the rows of a matrix to 22 bits below each row's largest value.

    Raises
    ------
    ModelError
        If a value is NaN or infinite; the message names the row and column.
    """
    wrong = np.argwhere(~np.isfinite(matrix))
    if len(wrong):
        raise ModelError(f"the weight at row {wrong[0][0]}, column {wrong[0][1]} is NaN or infinite")
    padded = np.zeros((len(matrix), -(-matrix.shape[1] // 32) * 32))
    padded[:, : matrix.shape[1]] = matrix
    exponent = np.frexp(np.abs(padded).max(axis=1))[1].astype(np.int64)
    x = np.floor(np.ldexp(padded, FRACTION - exponent[:, None]) + 0.5)
    return FixedRows(x, exponent)


def coarser(scale: Int, by: Int) -> Int:
    """Convert scales to a unit that is 2^by times as large, rounded; 0 becomes 1.

    Parameters
    ----------
    scale : int64 (N, blocks)
    by : int64 (N,), none negative
    """
    rounded = scale + (1 << by[:, None] >> 1) >> by[:, None]
    return np.where(rounded == 0, 1, rounded)


def nearest(x: Floats, step: Floats, grid: NumberGrid) -> Floats:
    """Return the level nearest to x / step; ties go to the greater level.

    Parameters
    ----------
    x : float64 (..., inputs)
    step : float64 (...,), none 0
    """
    return nearest_level(x / step[..., None], grid)


def nearest_level(ratio: Floats, grid: NumberGrid) -> Floats:
    """Return the level nearest to a ratio; ties go to the greater level."""
    levels = grid.levels
    if grid.even:
        whole = ratio + 0.5
        np.floor(whole, out=whole)
        return np.clip(whole, levels[0], levels[-1], out=whole)
    known = np.array(levels, np.float64)
    return known[np.searchsorted((known[1:] + known[:-1]) / 2, ratio, side="right")]


def squared_error(x: Floats, levels: Floats, step: Floats) -> Int:
    """Return the sum of (x - level * step)^2 over a block's inputs; it is exact, since all are integers below 2^53."""
    error = levels * step[..., None]
    np.subtract(x, error, out=error)
    np.multiply(error, error, out=error)
    squares: Int = error.astype(np.int64)
    return squares.sum(axis=-1)  # type: ignore[no-any-return]


def to_int16(exact: Int, least: int = 0) -> tuple[Int, Int]:
    """Round rows of integers to 16 bits: (scales, exponents t), with scale * 2^t approximating the integer.

    t is the least sufficient exponent from 0; scales have a magnitude of at least `least`.
    """
    largest = np.abs(exact).max(axis=1)
    t = np.zeros(len(exact), np.int64)
    for s in range(48):
        t += _round_shift(largest, s) > SCALE_MAX
    scale = _round_shift(exact, t[:, None])
    return np.where(np.abs(scale) < least, least, scale), t


def _round_shift(x: Int, s: Int | int) -> Int:
    return x + (np.left_shift(np.int64(1), s) >> 1) >> s
