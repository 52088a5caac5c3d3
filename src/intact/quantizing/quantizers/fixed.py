"""Rows of floats as integers, and integers to the nearest levels of a grid: exact, so that errors can be compared."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ModelError
from intact.numerics.grids import NumberGrid

Int = NDArray[np.int64]
Floats = NDArray[np.float64]
FRACTION: Final = 22
"""Bits of a row's integers below its exponent."""
SCALE_MAX: Final = 32767


class Blocks(NamedTuple):
    """Rows as integers, cut into blocks that share a scale: what a rule of scales is given."""

    x: Floats
    """(N, blocks, inputs): integers, in floats."""
    exponent: Int
    """(N,): of `FixedRows`. Rules that look at one row need it not; those that look at the whole matrix do."""


class FixedRows(NamedTuple):
    """Rows in units of 2^(exponent - 22): |x| <= 2^22."""

    x: Floats
    """(N, K padded to a multiple of 32): integers, in floats."""
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
        If a value is NaN or infinite; the message names row and column.
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
    """Return rows' scales in units 2^by as large, rounded, none 0.

    Parameters
    ----------
    scale : int64 (N, blocks)
    by : int64 (N,), none negative
    """
    rounded = scale + (1 << by[:, None] >> 1) >> by[:, None]
    return np.where(rounded == 0, 1, rounded)


def nearest(x: Floats, step: Floats, grid: NumberGrid) -> Floats:
    """Return the level nearest to x / step, of two that are equally near the greater one.

    Parameters
    ----------
    x : float64 (..., inputs)
    step : float64 (...,), none 0
    """
    return nearest_level(x / step[..., None], grid)


def nearest_level(ratio: Floats, grid: NumberGrid) -> Floats:
    """Return the level nearest to a ratio, of two that are equally near the greater one."""
    levels = grid.levels
    if grid.even:
        whole = ratio + 0.5
        np.floor(whole, out=whole)
        return np.clip(whole, levels[0], levels[-1], out=whole)
    known = np.array(levels, np.float64)
    return known[np.searchsorted((known[1:] + known[:-1]) / 2, ratio, side="right")]


def squared_error(x: Floats, levels: Floats, step: Floats) -> Int:
    """Return the sum over a block's inputs of (x - level * step)^2: exact, as all are integers below 2^53."""
    error = levels * step[..., None]
    np.subtract(x, error, out=error)
    np.multiply(error, error, out=error)
    squares: Int = error.astype(np.int64)
    return squares.sum(axis=-1)  # type: ignore[no-any-return]


def to_int16(exact: Int, least: int = 0) -> tuple[Int, Int]:
    """Round rows of integers to 16 bits: (scales, exponents t), so that scale * 2^t is about the integer.

    t is the least number from 0 that does; a scale is at least `least` in size.
    """
    largest = np.abs(exact).max(axis=1)
    t = np.zeros(len(exact), np.int64)
    for s in range(48):
        t += _round_shift(largest, s) > SCALE_MAX
    scale = _round_shift(exact, t[:, None])
    return np.where(np.abs(scale) < least, least, scale), t


def _round_shift(x: Int, s: Int | int) -> Int:
    return x + (np.left_shift(np.int64(1), s) >> 1) >> s
