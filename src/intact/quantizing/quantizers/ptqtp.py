"""PTQTP: two planes of trits t1 and t2, with independent or tied scales.

PTQTP (HeXiao-55/PTQTP) alternates between the best scales for given planes and the best of the nine pairs of trits for
given scales: a weight is a1 t1 + a2 t2. If the first plane's scale is tied to three times the second's, the nine pairs
are nine evenly spaced levels, the planes form one matrix of 4-bit codes, and one scale per block remains to be fitted.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact.numerics.grids import NumberGrid
from intact.numerics.weights import BlockWeight
from intact.quantizing.quantizers.assemble import assemble, segments
from intact.quantizing.quantizers.base import InputStatistics, QuantizedMatrix, Quantizer
from intact.quantizing.quantizers.fixed import FixedRows, Floats, Int, fix_rows, nearest, to_int16
from intact.quantizing.quantizers.spec import Spec

ROUNDS: Final = 50
RIDGES: Final = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Ridge terms to try on the two-scale system: the first that makes it well conditioned is used, else the last."""
CONDITION: Final = 1e6
MOVED: Final = 1e-4
"""Stopping tolerance: a block is done when both scales move by less than this fraction of the larger one."""
PAIRS: Final = ((0, 0), (-1, 0), (0, -1), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))
"""All pairs of trits, pairs with more zeros first; ties in distance go to the first."""
TRITS: Final = np.array(PAIRS, np.float64)
SLAB: Final = 64
"""Number of rows fitted at a time, to stay in cache."""


def alternate(x: Floats, grid: NumberGrid) -> Floats:
    """Return the steps, float64 (N, blocks), for blocks of integers (N, blocks, inputs).

    All weights start at the outermost level of their sign. Then the step for levels v is sum(x v) / sum(v v), from
    exact sums, and each weight moves to its nearest level, until no level changes, for at most 50 rounds.
    """
    v = np.sign(x) * grid.levels[-1]
    step = np.ones(x.shape[:2])
    for _ in range(ROUNDS):
        norm = (v * v).astype(np.int64).sum(axis=2)
        product = (x * v).astype(np.int64).sum(axis=2)
        step = np.where(norm > 0, product / np.maximum(norm, 1), step)
        chosen = nearest(x, step, grid)
        if np.array_equal(chosen, v):
            break
        v = chosen
    return step


class Levels(NamedTuple):
    """The values that both planes' scales can represent in each block, in ascending order."""

    pair: Int
    """(blocks, 9): the index in `PAIRS` of each level; pairs with equal levels use the first."""
    above: Floats
    """(blocks, 8): upper bounds; an integer greater than the bound goes to a higher level."""


def levels_of(scales: Floats) -> Levels:
    """Return the levels for scales (blocks, 2). A tie between two levels goes to the earlier pair."""
    value = scales[:, :1] * TRITS[:, 0] + scales[:, 1:] * TRITS[:, 1]
    pair = np.argsort(value, axis=1, kind="stable")
    value = np.take_along_axis(value, pair, axis=1)
    for k in range(1, len(PAIRS)):
        pair[:, k] = np.where(value[:, k] == value[:, k - 1], pair[:, k - 1], pair[:, k])
    middle = (value[:, 1:] + value[:, :-1]) / 2
    return Levels(pair, np.where(pair[:, 1:] < pair[:, :-1], np.nextafter(middle, -np.inf), middle))


def nearest_pairs(x: Floats, levels: Levels) -> Int:
    """Return the index in `PAIRS` of the level nearest to each integer, (blocks, inputs)."""
    place = np.zeros(x.shape, np.int8)
    for k in range(len(PAIRS) - 1):
        place += x > levels.above[:, k, None]
    return np.take_along_axis(levels.pair, place.astype(np.int64), axis=1)


def fit_planes(x: Floats) -> Floats:
    """Return the scales of both planes, float64 (blocks, 2), for blocks of integers (blocks, inputs).

    All weights start with both trits of their sign. Then the least-squares scales for the planes and the nearest planes
    for the scales alternate, until both scales move by less than `MOVED`, for at most 50 rounds. Sums are over
    integers, hence exact; each block stops independently.
    """
    rising = np.sort(x, axis=1)
    sums = np.zeros((len(x), x.shape[1] + 1), np.int64)
    np.cumsum(rising.astype(np.int64), axis=1, out=sums[:, 1:])
    count, size = np.count_nonzero(x, axis=1), np.abs(x).astype(np.int64).sum(axis=1)
    scales = solve_scales(np.stack([count] * 3, axis=1), np.stack([size] * 2, axis=1))
    going = np.arange(len(x))
    for _ in range(ROUNDS - 1):
        levels, here = levels_of(scales[going]), rising[going]
        ends = np.zeros((len(going), len(PAIRS) + 1), np.int64)
        ends[:, -1] = x.shape[1]
        for k in range(len(PAIRS) - 1):
            ends[:, k + 1] = np.count_nonzero(here <= levels.above[:, k, None], axis=1)
        counts, totals = np.diff(ends, axis=1), np.diff(np.take_along_axis(sums[going], ends, axis=1), axis=1)
        t1, t2 = (TRITS[:, i].astype(np.int64)[levels.pair] for i in range(2))
        gram = np.stack([(counts * a * b).sum(axis=1) for a, b in ((t1, t1), (t2, t2), (t1, t2))], axis=1)
        new = solve_scales(gram, np.stack([(totals * t).sum(axis=1) for t in (t1, t2)], axis=1))
        moved = np.abs(new - scales[going]).max(axis=1) >= MOVED * np.abs(new).max(axis=1)
        scales[going] = new
        going = going[moved]
        if not going.size:
            break
    return scales


def solve_scales(gram: Int, products: Int) -> Floats:
    """Return the least-squares scales (a1, a2), float64 (blocks, 2), with a ridge term.

    Parameters
    ----------
    gram : int64 (blocks, 3)
        Sums of t1 t1, t2 t2, t1 t2.
    products : int64 (blocks, 2)
        Sums of x t1, x t2.
    """
    n1, n2, n12 = gram.astype(np.float64).T
    p1, p2 = products.astype(np.float64).T
    spread = np.sqrt((n1 - n2) * (n1 - n2) + 4 * (n12 * n12))
    low, high = (n1 + n2 - spread) / 2, (n1 + n2 + spread) / 2
    ridge = np.full(n1.shape, RIDGES[-1])
    for one in reversed(RIDGES):
        ridge = np.where(high + one <= CONDITION * (low + one), one, ridge)
    n1, n2 = n1 + ridge, n2 + ridge
    determinant = n1 * n2 - n12 * n12
    return np.stack([(n2 * p1 - n12 * p2) / determinant, (n1 * p2 - n12 * p1) / determinant], axis=1)


class Ptqtp(Quantizer):
    """PTQTP with independent or tied scales of the two planes."""

    name = "ptqtp"
    summary = "two trit planes, free or tied, fitting planes and scales alternately"
    source = "HeXiao-55/PTQTP; constants: matteo-grella/fucina"
    grids = ("trits", "trits2")

    def __call__(self, matrix: NDArray[np.float32], spec: Spec, inputs: InputStatistics | None) -> QuantizedMatrix:
        """Quantise a matrix; see `Quantizer`."""
        columns = matrix.shape[1]
        rows = fix_rows(matrix)
        if spec.levels.planes == 2:
            return QuantizedMatrix(_free(rows, spec, columns))
        blocks = rows.blocks(spec.width(columns))
        whole = np.floor(alternate(blocks.x, spec.levels) + 0.5).astype(np.int64)
        scale, t = to_int16(whole, least=1)
        levels = nearest(blocks.x, np.ldexp(scale.astype(np.float64), t[:, None]), spec.levels)
        return QuantizedMatrix(
            assemble(spec, columns, levels.reshape(rows.x.shape), (scale, t), exponent=rows.exponent, offsets=None)
        )


def _free(rows: FixedRows, spec: Spec, columns: int) -> BlockWeight:
    """Fit independent scales, and return the two planes side by side."""
    index = segments([np.arange(columns)] * 2, columns)
    width = spec.width(columns)
    x = rows.blocks(width).x
    count = x.shape[1]
    trits = np.zeros((len(x), 2, count * width))
    scale, t = np.zeros((len(x), 2 * count), np.int64), np.zeros(len(x), np.int64)
    for start in range(0, len(x), SLAB):
        slab = slice(start, start + SLAB)
        blocks = x[slab].reshape(-1, width)
        fitted = np.floor(fit_planes(blocks) + 0.5).astype(np.int64).reshape(-1, count, 2)
        scale[slab], t[slab] = to_int16(fitted.swapaxes(1, 2).reshape(-1, 2 * count))
        steps = np.ldexp(scale[slab].astype(np.float64), t[slab, None]).reshape(-1, 2, count).swapaxes(1, 2)
        pairs = nearest_pairs(blocks, levels_of(steps.reshape(-1, 2))).reshape(-1, count * width)
        trits[slab] = TRITS[pairs].swapaxes(1, 2)
    return assemble(
        spec, columns, trits.reshape(len(x), -1), (scale, t), exponent=rows.exponent, offsets=None, inputs=index
    )


PTQTP = Ptqtp()
