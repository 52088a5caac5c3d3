"""LLM-FP4's scale search: the best of 100 fractions of a block's largest value, by the error of the products.

Liu et al., arXiv 2310.16836; nbasyl/LLM-FP4, `quant_layers/fp_linear.py`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.numerics.grids import GRIDS, NumberGrid
from intact.quantizing.quantizers.base import InputStatistics, QuantizedMatrix, Quantizer
from intact.quantizing.quantizers.fixed import Floats, Int, fix_rows, nearest, to_int16
from intact.quantizing.quantizers.nearest import Steps, round_rows
from intact.quantizing.quantizers.proxy import weigh
from intact.quantizing.quantizers.spec import Spec

TRIES: Final = 100
FRACTIONS: Final = tuple(99 + 119 * i for i in range(TRIES))
"""Fractions of the largest value, from .01 to 1.2, in 9900ths."""
_UNIT: Final = 9900
_BITS: Final = 16
"""Bits of an error, below twice the largest value of its block."""


def search_products(x: Floats, second: NDArray[np.int64], grid: NumberGrid) -> tuple[Int, Int]:
    """Return scales, int64 (N, blocks), and exponents t, int64 (N,): the steps are scale * 2^t.

    With d the error of a block and H the second moments of its inputs, the fraction with the least d H dT is used; ties
    go to the smallest. Errors are rounded to 16 bits below twice the block's largest value.

    Parameters
    ----------
    x : float64 (N, blocks, inputs)
        Integers.
    second : int64 (blocks, inputs, inputs)
    """
    extent = np.abs(x).max(axis=2).astype(np.int64)
    reach = _UNIT * min(grid.levels[-1], -grid.levels[0])
    t = to_int16(-(-extent * FRACTIONS[-1] // reach))[1]
    unit = _BITS - 1 - np.frexp(extent.astype(np.float64))[1].astype(np.int64)[..., None]
    best, scale = np.full(extent.shape, np.iinfo(np.int64).max), np.ones_like(extent)
    for fraction in FRACTIONS:
        divisor = np.int64(reach) << t[:, None]
        candidate = np.maximum(1, (2 * extent * fraction + divisor) // (2 * divisor))
        step = (candidate << t[:, None]).astype(np.float64)
        d = np.floor(np.ldexp(x - nearest(x, step, grid) * step[..., None], unit) + 0.5)
        error = weigh(d.swapaxes(0, 1), second, _BITS)[0].T
        better = error < best
        best, scale = np.where(better, error, best), np.where(better, candidate, scale)
    return scale, t


class LlmFp4(Quantizer):
    """Round to nearest, with scales searched by the error of the products."""

    name = "llm_fp4"
    summary = "nearest, with the best of 100 scales by the error of the products"
    source = "Liu et al., arXiv 2310.16836"
    calibrated = True
    grids = tuple(name for name, grid in GRIDS.items() if not grid.affine and grid.planes == 1)

    def __call__(self, matrix: NDArray[np.float32], spec: Spec, inputs: InputStatistics | None) -> QuantizedMatrix:
        """Quantise a matrix; see `Quantizer`."""
        if inputs is None:
            raise ParameterError(f"{spec} needs calibration; give a calibration text")
        rows, columns, width = fix_rows(matrix), matrix.shape[1], spec.width(matrix.shape[1])
        padded = np.zeros((rows.x.shape[1],) * 2, np.int64)
        padded[:columns, :columns] = inputs.second[:columns, :columns]
        count = len(padded) // width
        own = padded.reshape(count, width, count, width)[np.arange(count), :, np.arange(count)]
        scales = search_products(rows.blocks(width).x, own, spec.levels)
        return round_rows(rows, Steps(scales, None), spec, columns)


LLM_FP4 = LlmFp4()
