"""Round columns one after another: the definition, in float64 with one operation at a time in a fixed order.

Sums by LAPACK and NumPy vary between machines. Here each element accumulates its products one at a time, by elementwise
multiplications and subtractions, which IEEE 754 defines. ``native/formats/solve.cpp`` does the same faster: `factor`
and `round_columns` call it, and its results must equal those of `define_factor` and `define_columns`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from intact import _native
from intact._base.errors import ParameterError
from intact._base.system import processors
from intact.numerics.grids import NumberGrid
from intact.quantizing.quantizers.fixed import nearest

Floats = NDArray[np.float64]


def factor(h: Floats) -> tuple[Floats, Floats]:
    """Factor H into R diag(D) RT, with R unit upper triangular.

    Parameters
    ----------
    h : float64 (K, K)
        Symmetric, positive definite.

    Raises
    ------
    ParameterError
        If it is not positive definite.
    """
    try:
        r, d = _native.factor_upper(h, processors())
    except ValueError as error:
        raise ParameterError(f"the second moments are not positive definite: {error}; use a longer text") from error
    return r, d


def define_factor(h: Floats) -> tuple[Floats, Floats]:
    """Reference implementation of `factor`."""
    rest = h.copy()
    r, d = np.eye(len(h)), np.zeros(len(h))
    for k in range(len(h) - 1, -1, -1):
        d[k] = rest[k, k]
        column = rest[:k, k].copy()
        r[:k, k] = column / d[k]
        rest[:k, :k] -= r[:k, k, None] * column[None, :]
    return r, d


def round_columns(
    original: Floats, step: Floats, offset: Floats, r: Floats, d: Floats, grid: NumberGrid
) -> tuple[Floats, Floats]:
    """Round columns in order, correcting each for the errors of the columns before it.

    Parameters
    ----------
    original, step, offset : float64 (N, K)
        Values, and the steps and offsets of their blocks, in the order of the columns.
    r, d
        As returned by `factor`.

    Returns
    -------
    levels : float64 (N, K)
    left : float64 (N,)
        The sum over the columns of d times the squared error of the corrected value.
    """
    levels = np.array(grid.levels, np.float64)
    values, steps, offsets, upper = map(np.ascontiguousarray, (original, step, offset, r))
    return _native.round_columns(values, steps, offsets, upper, d, levels, grid.even, processors())


def define_columns(
    original: Floats, step: Floats, offset: Floats, r: Floats, d: Floats, grid: NumberGrid
) -> tuple[Floats, Floats]:
    """Reference implementation of `round_columns`."""
    wanted, levels, left = original.copy(), np.zeros(original.shape), np.zeros(len(original))
    for k in range(original.shape[1]):
        levels[:, k] = nearest((wanted[:, k] - offset[:, k])[:, None], step[:, k], grid)[:, 0]
        value = levels[:, k] * step[:, k] + offset[:, k]
        error = wanted[:, k] - value
        left += d[k] * (error * error)
        wanted[:, k + 1 :] += (original[:, k] - value)[:, None] * r[k, k + 1 :]
    return levels, left
