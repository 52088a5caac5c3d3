"""PTQTP with tied scales: two trit planes t1 and t2, of which a weight is (3 t1 + t2) times its block's scale.

PTQTP (HeXiao-55/PTQTP) alternates between the best scales of given planes and the best of the nine pairs of trits for
given scales. With the first plane's scale tied to three times the second's, the nine pairs are nine even levels, the
planes are one matrix of 4-bit codes, and one scale a block is left to fit.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from intact.quantizers.assemble import assemble
from intact.quantizers.base import InputStatistics, QuantizedMatrix, Quantizer
from intact.quantizers.fixed import Floats, fix_rows, nearest, to_int16
from intact.quantizers.grids import NumberGrid
from intact.quantizers.spec import Spec

ROUNDS: Final = 50


def alternate(x: Floats, grid: NumberGrid) -> Floats:
    """Return the steps, float64 (N, blocks), of blocks of integers (N, blocks, inputs).

    All weights begin on the level of their sign that lies furthest out. Then sum(x v) / sum(v v), of exact sums, is
    the step of the levels v, and each weight goes to its nearest level, until no level changes or for 50 rounds.
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


class Ptqtp(Quantizer):
    """PTQTP with tied scales."""

    name = "ptqtp"
    summary = "two trit planes with tied scales, planes and scales in turn"
    source = "HeXiao-55/PTQTP; constants: matteo-grella/fucina"
    grids = ("trits2",)

    def __call__(self, matrix: NDArray[np.float32], spec: Spec, inputs: InputStatistics | None) -> QuantizedMatrix:
        """Quantise a matrix; see `Quantizer`."""
        columns = matrix.shape[1]
        rows = fix_rows(matrix)
        blocks = rows.blocks(spec.width(columns))
        whole = np.floor(alternate(blocks.x, spec.levels) + 0.5).astype(np.int64)
        scale, t = to_int16(whole, least=1)
        levels = nearest(blocks.x, np.ldexp(scale.astype(np.float64), t[:, None]), spec.levels)
        return QuantizedMatrix(assemble(spec, columns, levels.reshape(rows.x.shape), (scale, t), rows.exponent, None))


PTQTP = Ptqtp()
