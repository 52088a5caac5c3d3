"""Scale rules: choose the step of each block of a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from intact.numerics.grids import NumberGrid
from intact.quantizing.quantizers.fixed import Blocks, Floats, Int, nearest, squared_error, to_int16

UNIT: Final = 256
TRIES: Final = 16
CACHED: Final = 1 << 16
"""Number of values searched at a time."""
E4M3_MAX: Final = 448 << 9
"""The largest FP8 E4M3 number, in units of the smallest, 2^-9."""


def candidates(grid: NumberGrid, end: int) -> tuple[int, ...]:
    """Return the positions at which `search` tries a block's extreme, in 256ths of the grid's last level on that side.

    `end` is the distance of that level in steps. Positions range from 7/8 of it to 2.2 mean level distances beyond it:
    the fewer levels there are, the more clipping the largest values helps.
    """
    span, gaps = grid.levels[-1] - grid.levels[0], len(grid.levels) - 1
    least, most = 7 * UNIT // 8, UNIT + 22 * UNIT * span // (10 * end * gaps)
    return tuple(least + (most - least) * i // (TRIES - 1) for i in range(TRIES))


def _extent(x: Floats) -> Int:
    extent: Int = np.abs(x).max(axis=2).astype(np.int64)
    return extent


def _reach(grid: NumberGrid) -> int:
    return min(grid.levels[-1], -grid.levels[0])


def largest(blocks: Blocks, grid: NumberGrid) -> tuple[Int, Int]:
    """Map the block's largest value to the largest level, so that no value is clipped.

    Returns
    -------
    scale : int64 (N, blocks), of at most 15 bits and a sign
    t : int64 (N,)
        The steps are scale * 2^t.
    """
    return to_int16(-(-_extent(blocks.x) // _reach(grid)), least=1)


def power(blocks: Blocks, grid: NumberGrid) -> tuple[Int, Int]:
    """Round the step of `largest` up to a power of two (OCP Microscaling 1.0, but rounded up to avoid clipping).

    Blocks below 2^-14 of the row's largest step share the smallest step.
    """
    step = np.maximum(1, -(-_extent(blocks.x) // _reach(grid)))
    exponent = np.frexp((step - 1).astype(np.float64))[1].astype(np.int64)  # the least e with step <= 2^e
    most = exponent.max(axis=1)
    t = np.maximum(most - 14, 0)
    return np.int64(1) << np.maximum(exponent - t[:, None], 0), t


def e4m3(blocks: Blocks, grid: NumberGrid) -> tuple[Int, Int]:
    """Round the step to FP8 E4M3 times one number for the whole matrix (NVFP4's two-level scales).

    With s = extent / reach, a block's exact step, and g = max(s) / 448 over the matrix, the step is E4M3(s / g) * g,
    ties to even, and at least g / 512, the smallest E4M3 number. It is computed in integers and rounded to 16 bits
    under the row's exponent. Rows below 2^-40 of the largest are treated as 2^-40 of it.
    """
    extent = _extent(blocks.x)
    living = extent.max(axis=1) > 0
    if not living.any():
        return np.ones_like(extent), np.zeros(len(extent), np.int64)
    top = blocks.exponent[living].max()
    most = extent[living & (blocks.exponent == top)].max()
    below = np.where(living, np.minimum(top - blocks.exponent, 40), 0)[:, None]
    times = round_e4m3(extent * E4M3_MAX, most << below)
    return to_int16(_round_half_up(times * most << below, E4M3_MAX * _reach(grid)), least=1)


def round_e4m3(above: Int, below: Int) -> Int:
    """Round a fraction, in units of 2^-9, to a nonzero E4M3 number: 4 significant bits, ties to even."""
    drop = np.maximum(np.frexp((above // below).astype(np.float64))[1].astype(np.int64) - 4, 0)
    unit = below << drop
    whole, rest = above // unit, above % unit
    up = (rest > unit - rest) | ((rest == unit - rest) & (whole & 1 == 1))
    number: Int = np.maximum(whole + up << drop, 1)
    return number


def _round_half_up(above: Int, below: int) -> Int:
    return (above + below // 2) // below


def search(blocks: Blocks, grid: NumberGrid) -> tuple[Int, Int]:
    """Choose the step with the least squared error among those that map the block's extreme near the end of the grid.

    If the grid reaches further on one side, the extreme may lie there; a positive extreme then has a negative scale.
    """
    rows = max(1, CACHED // max(1, blocks.x[0].size))
    parts = [_search(blocks.x[start : start + rows], grid) for start in range(0, len(blocks.x), rows)]
    return np.concatenate([scale for scale, _ in parts]), np.concatenate([t for _, t in parts])


def _search(x: Floats, grid: NumberGrid) -> tuple[Int, Int]:
    """Search a few rows at a time, so that the intermediate arrays stay in the processor's cache."""
    flat = np.abs(x).argmax(axis=2)[..., None]
    extreme = np.take_along_axis(x, flat, axis=2)[..., 0].astype(np.int64)
    ends = {grid.levels[-1], -grid.levels[0]}
    tries = [(c, end) for end in sorted(ends, reverse=True) for c in candidates(grid, end)]
    widest = -(-np.abs(extreme) * UNIT // min(c * end for c, end in tries))  # its t suits every candidate
    t = to_int16(widest)[1]
    best, scale = np.full(extreme.shape, np.iinfo(np.int64).max), np.ones_like(extreme)
    for c, end in tries:
        divisor = np.int64(c * end) << t[:, None]
        size = np.maximum(1, (2 * UNIT * np.abs(extreme) + divisor) // (2 * divisor))
        side = 1 if end == grid.levels[-1] else -1
        candidate = np.where(extreme < 0, -side, side) * size
        step = (candidate << t[:, None]).astype(np.float64)
        error = squared_error(x, nearest(x, step, grid), step)
        better = error < best
        best, scale = np.where(better, error, best), np.where(better, candidate, scale)
    return scale, t


RULES: Final[dict[str, Callable[[Blocks, NumberGrid], tuple[Int, Int]]]] = {
    "search": search,
    "largest": largest,
    "power": power,
    "e4m3": e4m3,
}
"""Rules by their name after @ in a spec. A rule returns two arrays: scales, int64 (N, blocks), of at most 15 bits and a
sign, and t, int64 (N,); the steps are scale * 2^t in units of the rows' integers.
"""
