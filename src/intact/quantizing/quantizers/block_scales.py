"""Search scales that GGUF's block types can store for the least squared error, using values as stored in the file.

Errors may be weighted by the inputs' second moments, as llama.cpp weights them by its importance matrix. Each block of
32 or 256 values is computed in units of 2^-22 of its largest value; squares are converted to integers before they are
added, so sums do not depend on the order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ModelError
from intact.numerics.encode import BlockScales
from intact.numerics.grids import GRIDS, NumberGrid
from intact.quantizing.quantizers.block_types import BlockType
from intact.quantizing.quantizers.fixed import FRACTION, FixedRows, Floats, Int, nearest, nearest_level
from intact.quantizing.quantizers.scales import UNIT, candidates

WEIGHT_BITS: Final = 8
"""Bits of an error's weight; the largest weight in a block is 2^8."""
LARGEST_HALF: Final = 65504.0
LEAST_HALF: Final = 2.0**-24
ROUNDS: Final = 2
"""Number of alternations between fitting scales and codes."""
_CHUNK: Final = 1 << 16
"""Number of values fitted at a time, to fit the processor's cache."""
_SQUARE: Final = 2.0**46
"""Upper limit on squared errors, so that 256 weighted ones fit in int64."""


class BlockProblem(NamedTuple):
    """Blocks to fit: R rows of S blocks of P sub-blocks; a sub-block's values run along the first axis.

    Putting the values first makes the inner loops long.
    """

    kind: BlockType
    y: Floats
    """(values, R, S, P): in units of 2^(top - 22)."""
    top: Int
    """(R, S)."""
    weight: Int | None
    """(values, 1, S, P)."""

    @property
    def grid(self) -> NumberGrid:
        """The number grid of the type."""
        return GRIDS[self.kind.grid]

    def half(self, number: Floats) -> Floats:
        """Round numbers of whole blocks, (R, S, ...), to nonzero numbers that the blocks' float16 can represent."""
        top = self.top.reshape(*self.top.shape, *(1,) * (number.ndim - 2)) - FRACTION + self.kind.form.fraction
        return np.ldexp(round_half(np.ldexp(number, top)), -top)

    def error(self, level: Floats, step: Floats, offset: Floats | float = 0.0) -> Int:
        """Return the weighted squared error of each sub-block, (R, S, P)."""
        wrong = self.y - level * step - offset
        squares: Int = np.minimum(wrong * wrong, _SQUARE).astype(np.int64)
        if self.weight is not None:
            squares *= self.weight
        return squares.sum(axis=0)  # type: ignore[no-any-return]

    def total(self, product: Floats) -> Floats:
        """Return weighted sums of products over sub-blocks, (R, S, P); products are truncated to integers first."""
        whole = product.astype(np.int64)
        if self.weight is not None:
            whole *= self.weight
        return whole.sum(axis=0).astype(np.float64)  # type: ignore[no-any-return]

    def whole(self, product: Floats) -> Floats:
        """Return weighted sums of products over whole blocks, (R, S)."""
        return self.total(product).astype(np.int64).sum(axis=-1).astype(np.float64)  # type: ignore[no-any-return]

    def weights(self) -> Floats:
        """Return the sum of weights of each sub-block."""
        return self.total(np.ones_like(self.y))


def fit_block_scales(kind: BlockType, rows: FixedRows, columns: int, second: Int | None = None) -> BlockScales:
    """Choose the scales of a matrix.

    Parameters
    ----------
    kind : BlockType
    rows : FixedRows
        Rows whose length is a multiple of the type's block.
    second : int64 (K,), optional
        The second moments of the inputs, used as weights of the errors.

    Raises
    ------
    ModelError
        If a value is too large for a scale in float16.
    """
    if kind.name == "MXFP4":
        return _powers(rows, columns)
    return fit_parts(_affine if GRIDS[kind.grid].affine else _symmetric, kind, rows, columns, second=second)


def fit_parts(
    fit: Callable[[BlockProblem], BlockScales],
    kind: BlockType,
    rows: FixedRows,
    columns: int,
    second: Int | None,
    values: int = _CHUNK,
) -> BlockScales:
    """Fit the scales of a matrix, `values` values at a time; see `fit_block_scales`."""
    form = kind.form
    x = rows.x[:, :columns]
    reach = GRIDS[kind.grid].largest * (1 if kind.scales is None else kind.scales[1]) * 2.0**-form.fraction
    if np.abs(np.ldexp(x, rows.exponent[:, None] - FRACTION)).max(initial=0) > LARGEST_HALF * reach:
        raise ModelError(
            f"a value is too large for {kind.name}, whose scales are float16 numbers of at most {LARGEST_HALF:g}"
        )
    blocks = columns // form.values
    weight = None
    if second is not None:
        weight = np.moveaxis(_weights(second, form.values).reshape(1, blocks, -1, form.block), -1, 0)
    parts = []
    for at in _chunks(len(x), columns, values):
        whole = np.ldexp(x[at], rows.exponent[at, None] - FRACTION)
        whole = np.ascontiguousarray(np.moveaxis(whole.reshape(len(whole), blocks, -1, form.block), -1, 0))
        top = np.frexp(np.abs(whole).max(axis=(0, 3)))[1].astype(np.int64)
        found = fit(BlockProblem(kind, np.ldexp(whole, FRACTION - top[..., None]), top, weight))
        halves = tuple(np.ldexp(half, top - FRACTION + form.fraction) for half in found.halves)
        parts.append(found._replace(halves=halves))
    halves = tuple(np.concatenate(pieces) for pieces in zip(*(part.halves for part in parts), strict=True))
    scale, minimum = (
        None if numbers[0] is None else np.concatenate([n.reshape(len(n), -1) for n in numbers if n is not None])
        for numbers in ([part.scale for part in parts], [part.minimum for part in parts])
    )
    return BlockScales(halves, scale, minimum)


def round_half(x: Floats) -> Floats:
    """Round to the nearest float16 number other than 0 and infinity, ties to even."""
    unit = np.ldexp(1.0, np.maximum(np.frexp(x)[1] - 11, -24))
    size = np.clip(np.abs(np.rint(x / unit) * unit), LEAST_HALF, LARGEST_HALF)
    half: Floats = np.where(x < 0, -size, size)
    return half


def _chunks(rows: int, columns: int, values: int) -> Iterator[slice]:
    count = max(1, values // columns)
    for start in range(0, rows, count):
        yield slice(start, start + count)


def _weights(second: Int, values: int) -> Int:
    """Scale second moments to integers from 1 to 2^8, the value of the largest in each block."""
    blocks = second.reshape(-1, values).astype(np.float64)
    most = np.maximum(blocks.max(axis=1, keepdims=True), 1)
    whole: Int = np.maximum(1, np.floor(blocks / most * (1 << WEIGHT_BITS) + 0.5)).astype(np.int64)
    return whole


def not_zero(step: Floats, size: float = 1.0) -> Floats:
    """Replace zero steps with `size`."""
    return np.where(step == 0, size, step)


def keep(better: NDArray[np.bool_], new: Floats, old: Floats) -> Floats:
    """Return `new` where `better` is true, else `old`."""
    return np.where(better, new, old)


def _symmetric(problem: BlockProblem) -> BlockScales:
    """Fit steps for types without minima."""
    y, grid, limits = problem.y, problem.grid, problem.kind.scales
    fix: Callable[[Floats], Floats] = problem.half if limits is None else not_zero
    extreme = np.take_along_axis(y, np.abs(y).argmax(axis=0)[None], axis=0)[0]
    best, step = np.full(extreme.shape, np.iinfo(np.int64).max), np.ones_like(extreme)

    def consider(new: Floats) -> None:
        nonlocal best, step
        error = problem.error(nearest_level(y / new, grid), new)
        step, best = keep(error < best, new, step), np.minimum(error, best)

    for end in sorted({grid.levels[-1], -grid.levels[0]}, reverse=True):
        for c in candidates(grid, end)[::2]:
            consider(fix(extreme * (UNIT / (c * (end if end == grid.levels[-1] else -end)))))
    for _ in range(ROUNDS):
        v = nearest_level(y / step, grid)
        norm = problem.total(v * v)
        consider(fix(keep(norm > 0, problem.total(y * v) / not_zero(norm), step)))
    return BlockScales((step[..., 0],)) if limits is None else _integer_scales(problem, step, limits)


def _integer_scales(problem: BlockProblem, step: Floats, limits: tuple[int, int]) -> BlockScales:
    """Replace steps with small integers times one float16 per block."""
    y, grid = problem.y, problem.grid
    low, high = limits

    def whole(ratio: Floats) -> Floats:
        return not_zero(np.clip(np.rint(ratio), low, high))

    def errors(d: Floats, scale: Floats) -> Int:
        now = d[..., None] * scale
        return problem.error(nearest_level(y / now, grid), now)

    widest = np.take_along_axis(step, np.abs(step).argmax(axis=-1)[..., None], axis=-1)[..., 0]
    best, d, scale = np.full(widest.shape, np.iinfo(np.int64).max), np.ones_like(widest), np.ones_like(step)
    for i in range(8):
        new = problem.half(widest / (low + i * -low // 32))
        chosen = whole(step / new[..., None])
        error = errors(new, chosen).sum(axis=-1)
        better = error < best
        best, d, scale = np.minimum(error, best), keep(better, new, d), keep(better[..., None], chosen, scale)

    def settle() -> Int:
        nonlocal scale
        base, least = scale, errors(d, scale)
        for change in (-1, 1):
            chosen = whole(base + change)
            error = errors(d, chosen)
            scale, least = keep(error < least, chosen, scale), np.minimum(error, least)
        return least.sum(axis=-1)  # type: ignore[no-any-return]

    for _ in range(ROUNDS):
        best = settle()
        now = d[..., None] * scale
        a = nearest_level(y / now, grid) * scale
        norm = problem.whole(a * a)
        new = problem.half(keep(norm > 0, problem.whole(y * a) / not_zero(norm), d))
        d = keep(errors(new, scale).sum(axis=-1) < best, new, d)
    settle()
    return BlockScales((d,), scale.astype(np.int64))


def _codes(y: Floats, step: Floats, offset: Floats, most: int) -> Floats:
    return np.clip(np.floor((y - offset) / step + 0.5), 0, most)


def _affine(problem: BlockProblem) -> BlockScales:
    """Fit steps and minima: a value is the step times a code counted from 0, plus an offset."""
    y, limits = problem.y, problem.kind.scales
    most = len(problem.grid.levels) - 1
    low, high = y.min(axis=0), y.max(axis=0)
    if limits is not None:
        low = np.minimum(low, 0)
    best = np.full(low.shape, np.iinfo(np.int64).max)
    step, offset = np.ones_like(low), low.copy()

    def consider(new: Floats, moved: Floats) -> Floats:
        nonlocal best, step, offset
        new = not_zero(np.maximum(new, 0))
        new, moved = (problem.half(new), problem.half(moved)) if limits is None else (new, np.minimum(moved, 0))
        q = _codes(y, new, moved, most)
        error = problem.error(q, new, moved)
        better = error < best
        best, step, offset = np.minimum(error, best), keep(better, new, step), keep(better, moved, offset)
        return q

    count, sum_y = problem.weights(), problem.total(y)

    def regress(q: Floats) -> None:
        """Try the least-squares step and offset for these codes."""
        s, ss, sy = problem.total(q), problem.total(q * q), problem.total(q * y)
        determinant = count * ss - s * s
        slope = (count * sy - s * sum_y) / not_zero(determinant)
        base = (ss * sum_y - s * sy) / not_zero(determinant)
        if limits is not None:
            slope, base = keep(base > 0, sy / not_zero(ss), slope), np.minimum(base, 0)
        known = (determinant > 0) & (slope > 0)
        consider(keep(known, slope, step), keep(known, base, offset))

    for i in range(-6, 7, 2):
        regress(consider((high - low) / (most + 0.15 * i), low))
    for _ in range(ROUNDS):
        regress(_codes(y, step, offset, most))
    if limits is None:
        return BlockScales((step[..., 0], offset[..., 0]))
    return _integer_minima(problem, step, -offset, limits[1])


def _integer_minima(problem: BlockProblem, step: Floats, minimum: Floats, high: int) -> BlockScales:
    """Replace steps and minima with small integers times two float16 numbers per block."""
    y, most = problem.y, len(problem.grid.levels) - 1

    def errors(d: Floats, e: Floats, scale: Floats, low: Floats) -> Int:
        now, offset = d[..., None] * scale, -e[..., None] * low
        return problem.error(_codes(y, now, offset, most), now, offset)

    best = np.full(step.shape[:-1], np.iinfo(np.int64).max)
    d, e, scale, low = np.ones(best.shape), np.ones(best.shape), np.ones_like(step), np.zeros_like(step)
    share = (1.0, 0.95, 0.9, 0.85) if high < 32 else (1.0, 0.97, 0.94)
    for over in share:
        for under in share:
            new = problem.half(step.max(axis=-1) / (high * over))
            down = problem.half(minimum.max(axis=-1) / (high * under))
            chosen = np.clip(np.rint(step / new[..., None]), 1, high)
            lows = np.clip(np.rint(minimum / down[..., None]), 0, high)
            error = errors(new, down, chosen, lows).sum(axis=-1)
            better = error < best
            best, d, e = np.minimum(error, best), keep(better, new, d), keep(better, down, e)
            scale, low = keep(better[..., None], chosen, scale), keep(better[..., None], lows, low)

    def settle() -> Int:
        nonlocal scale, low
        bases, least = (scale, low), errors(d, e, scale, low)
        for up in (-1, 0, 1):
            for down in (-1, 0, 1):
                chosen, lows = np.clip(bases[0] + up, 1, high), np.clip(bases[1] + down, 0, high)
                error = errors(d, e, chosen, lows)
                better = error < least
                least, scale, low = np.minimum(error, least), keep(better, chosen, scale), keep(better, lows, low)
        return least.sum(axis=-1)  # type: ignore[no-any-return]

    for _ in range(ROUNDS):
        best = settle()
        a = _codes(y, d[..., None] * scale, -e[..., None] * low, most) * scale
        b = np.broadcast_to(-low, y.shape)
        aa, ab, bb, ay, by = (problem.whole(p * q) for p, q in ((a, a), (a, b), (b, b), (a, y), (b, y)))
        determinant = aa * bb - ab * ab
        new, down = (ay * bb - by * ab) / not_zero(determinant), (by * aa - ay * ab) / not_zero(determinant)
        known = (determinant > 0) & (new > 0) & (down > 0)
        new, down = problem.half(keep(known, new, d)), problem.half(keep(known, down, e))
        better = errors(new, down, scale, low).sum(axis=-1) < best
        d, e = keep(better, new, d), keep(better, down, e)
    settle()
    return BlockScales((d, e), scale.astype(np.int64), low.astype(np.int64))


def _powers(rows: FixedRows, columns: int) -> BlockScales:
    """For each block of 32 values, choose the best of three powers of two by squared error (MXFP4).

    Scales are at least 2^-14 of the row's largest, the range that an integer weight can represent.
    """
    grid = GRIDS["e2m1"]
    x = rows.x[:, :columns].reshape(len(rows.x), -1, 32)
    needed = np.frexp(np.abs(x).max(axis=2) / grid.largest)[1].astype(np.int64)  # 2^needed clips nothing
    best, power = np.full(needed.shape, np.iinfo(np.int64).max), needed
    for less in range(3):
        step = np.ldexp(1.0, needed - less)
        wrong = x - nearest(x, step, grid) * step[..., None]
        error = (wrong * wrong).astype(np.int64).sum(axis=-1)
        power, best = np.where(error < best, needed - less, power), np.minimum(error, best)
    power = np.maximum(power, power.max(axis=1, keepdims=True) - 14)
    return BlockScales((), np.clip(power + (rows.exponent[:, None] - FRACTION) + 128, 1, 254))
