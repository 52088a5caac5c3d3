"""Round to nearest: each value goes to the nearest level of its block."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact.numerics.weights import BlockWeight
from intact.quantizers.assemble import assemble
from intact.quantizers.base import InputStatistics, QuantizedMatrix, Quantizer
from intact.quantizers.fixed import FixedRows, Floats, Int, fix_rows, nearest, squared_error, to_int16
from intact.quantizers.scales import RULES
from intact.quantizers.spec import Spec


class Steps(NamedTuple):
    """Scales and offsets of the blocks of rows, as `intact.quantizers.assemble` takes them."""

    scales: tuple[Int, Int]
    offsets: tuple[Int, Int] | None

    @property
    def step(self) -> Floats:
        """(N, blocks): in units of the rows' integers."""
        return np.ldexp(self.scales[0].astype(np.float64), self.scales[1][:, None])

    @property
    def offset(self) -> Floats:
        """(N, blocks): likewise."""
        if self.offsets is None:
            return np.zeros(self.scales[0].shape)
        return np.ldexp(self.offsets[0].astype(np.float64), self.offsets[1][:, None])


def fit_steps(rows: FixedRows, spec: Spec, columns: int) -> Steps:
    """Choose the scales, and for affine grids the offsets, of all blocks."""
    grid = spec.levels
    blocks = rows.blocks(spec.width(columns))
    if not grid.affine:
        return Steps(RULES[spec.rule](blocks, grid), None)
    low, high = blocks.x.min(axis=2).astype(np.int64), blocks.x.max(axis=2).astype(np.int64)
    scale, t = to_int16(-(-(high - low) // (grid.levels[-1] - grid.levels[0])), least=1)
    return Steps((scale, t), to_int16(low - grid.levels[0] * (scale << t[:, None])))


def round_rows(rows: FixedRows, steps: Steps, spec: Spec, columns: int) -> tuple[BlockWeight, list[int]]:
    """Return the weight of the levels nearest to the rows, and each row's squared error in units of its integers."""
    blocks = rows.blocks(spec.width(columns))
    x = blocks.x - steps.offset[..., None]
    levels = nearest(x, steps.step, spec.levels)
    error = squared_error(x, levels, steps.step).sum(axis=1)
    weight = assemble(spec, columns, levels.reshape(rows.x.shape), steps.scales, rows.exponent, steps.offsets)
    return weight, error.tolist()


class Nearest(Quantizer):
    """Round to nearest."""

    name = "nearest"
    summary = "each value to the nearest level of its block"
    source = "Krishnamoorthi, arXiv 1806.08342; Wu et al., arXiv 2004.09602"

    def __call__(self, matrix: NDArray[np.float32], spec: Spec, inputs: InputStatistics | None) -> QuantizedMatrix:
        """Quantise a matrix; see `Quantizer`."""
        columns = matrix.shape[1]
        rows = fix_rows(matrix)
        return QuantizedMatrix(round_rows(rows, fit_steps(rows, spec, columns), spec, columns)[0])


NEAREST = Nearest()
