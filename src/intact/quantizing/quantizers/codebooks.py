"""GGUF types with codebooks: search for the entries, signs and scales with the least squared error.

A block of 256 values has one float16, and and each group of 16 or 32 values an odd scale from 1 to 31 or 15. An index
selects the magnitudes of eight or four values (IQ2, IQ3), or eight values with their signs (IQ1). For each step, all
entries are compared using integer sums; errors may be weighted by the inputs' second moments
(`intact.quantizing.quantizers.block_scales`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from intact.numerics.encode import BlockScales
from intact.numerics.weight_formats.iq_grids import GRIDS, look_up
from intact.quantizing.quantizers.block_scales import ROUNDS, BlockProblem, fit_parts, keep, not_zero
from intact.quantizing.quantizers.block_types import BlockType
from intact.quantizing.quantizers.fixed import FixedRows, Floats, Int
from intact.quantizing.quantizers.scales import UNIT, candidates

TRIES: Final = 8
"""Number of float16 candidates per block: the largest step gets the largest scale, then that minus 2, minus 4, ..."""
BYTE: Final = 8
"""Values that share a byte of signs."""
CHUNK: Final = 1 << 13
"""Number of values fitted at a time, each compared with the whole codebook."""
Flags = NDArray[np.bool_]


def sizes_of(kind: BlockType) -> Floats:
    """Return the codebook of a type, (entries, g): the magnitudes of g values, in steps; for moved types, moved up."""
    form, count = kind.form, len(GRIDS[kind.book])
    assert form.table is not None
    fields = look_up(kind.book, np.arange(count), kind.codebook)
    return (np.array(form.table, np.float64) - form.zero)[fields].reshape(count, -1)


def _weight(problem: BlockProblem) -> Floats:
    """Return the error weights, (values, 1, S or 1, P or 1)."""
    return np.ones((len(problem.y), 1, 1, 1)) if problem.weight is None else problem.weight.astype(np.float64)


class EntrySearch:
    """Find the best codebook entries for given steps of blocks.

    Values are arranged as in `BlockProblem`, (values, R, S, P), and their J groups of g values as (J, R, S, P).

    Parameters
    ----------
    problem : BlockProblem
    sizes : float64 (entries, g)
        The values of entries, in steps.
    """

    def __init__(self, problem: BlockProblem, sizes: Floats) -> None:
        self.sizes, self._weight = sizes, _weight(problem)
        self._square = self._groups(self._weight) @ np.square(sizes).T  # (J, 1, S or 1, P or 1, entries)
        self._order = np.argsort(self._square, axis=-1, kind="stable")
        self._take(problem)

    def levels(self, step: Floats) -> Floats:
        """Return the values of the best entries for steps, (R, S, P); ties go to the smaller sum of squares."""
        best = (step[..., None] * self._squares - 2 * self._products).argmin(axis=-1)
        entry = np.take_along_axis(self._known, best[..., None], axis=-1)[..., 0]
        found: Floats = np.moveaxis(self.sizes[entry], -1, 1).reshape(self.problem.y.shape)
        return found

    def written(self, step: Floats) -> Floats:
        """Return the values for the chosen steps."""
        return self.levels(step)

    def _groups(self, values: Floats) -> Floats:
        """Rearrange (values, ...) into (J, ..., g)."""
        parts = values.reshape((-1, self.sizes.shape[1], *values.shape[1:]))
        groups: Floats = np.ascontiguousarray(np.moveaxis(parts, 1, -1))
        return groups

    def _take(self, problem: BlockProblem) -> None:
        """For each group, keep the entries that are best for some step.

        For a step s, the error is s^2 square - 2 s product plus a constant, so an entry can be dropped if the square of
        another is not larger and its product is not smaller.
        """
        self.problem = problem
        product = self._groups(self._weight * problem.y) @ self.sizes.T
        order = np.broadcast_to(self._order, product.shape)
        rising = np.take_along_axis(product, order, axis=-1)
        most = np.maximum.accumulate(rising, axis=-1)
        kept = np.ones(rising.shape, np.bool_)
        kept[..., 1:] = rising[..., 1:] > most[..., :-1]
        count = kept.sum(axis=-1)
        shape = (*count.shape, int(count.max()))
        place = np.arange(shape[-1]) < count[..., None]
        self._known = np.zeros(shape, np.int64)
        self._known[place] = order[kept]
        self._products = np.full(shape, -np.inf)
        self._products[place] = rising[kept]
        self._squares = np.take_along_axis(np.broadcast_to(self._square, product.shape), self._known, axis=-1)


class SignSearch(EntrySearch):
    """Find entries of magnitudes with separate signs; the problem holds magnitudes, negated where a sign is flipped."""

    def __init__(self, problem: BlockProblem) -> None:
        self._own, self._size = np.where(problem.y < 0, -1.0, 1.0), np.abs(problem.y)
        self._odd = self._odd_bytes() if problem.kind.even_signs else None
        self._flip = self._flips(_weight(problem) * self._size)
        super().__init__(problem._replace(y=self._size * self._flip), sizes_of(problem.kind))

    def written(self, step: Floats) -> Floats:
        """Return the values for the chosen steps, with the signs of the least loss for these entries."""
        self._choose_signs(step)
        signed: Floats = self._own * self._flip * self.levels(step)
        return signed

    def _choose_signs(self, step: Floats) -> None:
        """In each byte with an odd number of negatives, flip the sign that costs the least with the best entries."""
        if self._odd is None:
            return
        groups = self._groups(self._weight * self._size)
        here = np.repeat(self._odd, BYTE // groups.shape[-1], axis=0)
        square, steps = (
            np.broadcast_to(a, (*here.shape, a.shape[-1]))[here] for a in (self._square, step[None, ..., None])
        )
        product, groups = groups[here] @ self.sizes.T, groups[here]
        common = steps * square - 2 * product
        plain = common.min(axis=-1)
        losses = np.zeros((*here.shape, groups.shape[-1]))
        for i in range(groups.shape[-1]):
            losses[here, i] = (common + 4 * groups[:, i, None] * self.sizes[:, i]).min(axis=-1) - plain
        self._flip = self._flips(np.moveaxis(losses, -1, 1).reshape(self._size.shape))
        self._take(self.problem._replace(y=self._size * self._flip))

    def _odd_bytes(self) -> Flags:
        """Return true for bytes with an odd number of negative values: (values / 8, R, S, P)."""
        negative = self._own.reshape(-1, BYTE, *self._own.shape[1:]) < 0
        odd: Flags = negative.sum(axis=1) % 2 == 1
        return odd

    def _flips(self, loss: Floats) -> Floats:
        """Return -1 for the value with the least loss in each odd byte, and 1 elsewhere."""
        flip = np.ones(self._size.shape)
        if self._odd is not None:
            bytes_of = flip.reshape(-1, BYTE, *flip.shape[1:])
            least = loss.reshape(bytes_of.shape).argmin(axis=1)[:, None]
            np.put_along_axis(bytes_of, least, np.where(self._odd, -1.0, 1.0)[:, None], axis=1)
        return flip


class MoveSearch:
    """Find signed entries, and move the values of each sub-block up or down, whichever is better."""

    def __init__(self, problem: BlockProblem) -> None:
        up = sizes_of(problem.kind)
        self.problem = problem
        self._searches = EntrySearch(problem, up), EntrySearch(problem, up - 2)

    def levels(self, step: Floats) -> Floats:
        """Return the values of the best entries for steps, (R, S, P); ties are moved up."""
        up, down = (search.levels(step) for search in self._searches)
        return np.where(self.problem.error(down, step) < self.problem.error(up, step), down, up)

    written = levels


Search = EntrySearch | MoveSearch


def search_of(problem: BlockProblem) -> Search:
    """Return the search for a type: entries with separate signs, or shifted per sub-block or per group of eight."""
    kind = problem.kind
    if not kind.moved:
        return SignSearch(problem)
    if kind.moved == kind.form.block:
        return MoveSearch(problem)
    up = sizes_of(kind)
    return EntrySearch(problem, np.concatenate([up, up - 2]))  # every eight values have an entry and a move


def _most(search: Search) -> int:
    """Return the largest scale that a sub-block can have."""
    limits = search.problem.kind.scales
    assert limits is not None
    return limits[1]


def _odd(ratio: Floats, most: int) -> Floats:
    """Return the nearest odd scales."""
    scale: Floats = 2 * np.clip(np.rint((ratio - 1) / 2), 0, most // 2) + 1
    return scale


def _steps(search: Search) -> Floats:
    """Return the best step of each sub-block, (R, S, P), among some candidates and two regressions on the best one."""
    problem = search.problem
    extreme: Floats = np.abs(problem.y).max(axis=0)
    best = np.full(extreme.shape, np.iinfo(np.int64).max)
    step: Floats = np.ones_like(extreme)

    def consider(new: Floats) -> None:
        nonlocal best, step
        error = problem.error(search.levels(new), new)
        step, best = keep(error < best, new, step), np.minimum(error, best)

    end = problem.grid.levels[-1]
    for c in candidates(problem.grid, end)[::2]:
        consider(not_zero(extreme * (UNIT / (c * end))))
    for _ in range(ROUNDS):
        v = search.levels(step)
        new = problem.total(problem.y * v) / problem.total(v * v)
        consider(keep(new > 0, new, step))
    return step


def _fit(search: Search) -> BlockScales:
    """Choose a float16 for each block and odd scales for its sub-blocks."""
    problem, step, most = search.problem, _steps(search), _most(search)

    def errors(d: Floats, scale: Floats) -> Int:
        now = d[..., None] * scale
        return problem.error(search.levels(now), now)

    widest = step.max(axis=-1)
    best, d, scale = np.full(widest.shape, np.iinfo(np.int64).max), np.ones_like(widest), np.ones_like(step)
    for i in range(TRIES):
        new = problem.half(widest / (most - 2 * i))
        chosen = _odd(step / new[..., None], most)
        error = errors(new, chosen).sum(axis=-1)
        better = error < best
        best, d, scale = np.minimum(error, best), keep(better, new, d), keep(better[..., None], chosen, scale)
    for _ in range(ROUNDS):
        scale, least = _neighbours(errors, d, scale, most)
        a = search.levels(d[..., None] * scale) * scale
        new = problem.whole(problem.y * a) / problem.whole(a * a)
        new = problem.half(keep(new > 0, new, d))
        d = keep(errors(new, scale).sum(axis=-1) < least.sum(axis=-1), new, d)
    scale, _ = _neighbours(errors, d, scale, most)
    return BlockScales((d,), scale.astype(np.int64))


def _neighbours(errors: Callable[[Floats, Floats], Int], d: Floats, scale: Floats, most: int) -> tuple[Floats, Int]:
    """Return the best of each scale and the next smaller and larger ones, with its error."""
    base, least = scale, errors(d, scale)
    for change in (-2, 2):
        chosen = np.clip(base + change, 1, most)
        error = errors(d, chosen)
        scale, least = keep(error < least, chosen, scale), np.minimum(error, least)
    return scale, least


def _unbiased(problem: BlockProblem, d: Floats, found: Floats) -> Floats:
    """Return float16 scales for which each block's product with the original values equals their squared norm.

    Least squares shrinks weights, by a fifth at 1.6 bits, which hurts a model more than larger errors do (the unbiased
    scale of DRIVE, arXiv 2105.08339).

    Parameters
    ----------
    d : float64 (R, S)
    found : float64 (values, R, S, P)
        The values under d.
    """
    own, product = problem.whole(problem.y * problem.y), problem.whole(problem.y * found)
    return problem.half(keep(product > 0, d * (own / not_zero(product)), d))


def fit_codebook(
    kind: BlockType, rows: FixedRows, columns: int, second: Int | None = None
) -> tuple[Floats, BlockScales]:
    """Choose the values and scales of a matrix.

    Parameters
    ----------
    kind : BlockType
        A type with a codebook.
    rows, columns, second
        As for `fit_block_scales`.

    Returns
    -------
    levels : float64 (N, K)
        Levels of the grid.
    scales : BlockScales

    Raises
    ------
    ModelError
        If a value is too large for a scale in float16.
    """
    levels: list[Floats] = []

    def fit(problem: BlockProblem) -> BlockScales:
        search = search_of(problem)
        found = _fit(search)
        assert found.scale is not None
        step = found.halves[0][..., None] * found.scale
        signed = search.written(step)  # (values, R, S, P)
        if kind.moved:
            found = found._replace(halves=(_unbiased(search.problem, found.halves[0], signed * step),))
        levels.append(np.moveaxis(signed, 0, -1).reshape(signed.shape[1], -1))
        return found

    scales = fit_parts(fit, kind, rows, columns, second=second, values=CHUNK)
    return np.concatenate(levels), scales
