"""FP8 E4M3: split 8-bit floats into two planes of integers, so that integer products are exact.

In units of 2^-9, the E4M3 numbers are 0 to 7, and 8 to 15 times 2^0 to 2^14. Those below 2^10 are integers in the first
plane; the others are multiples of 2^7, stored as integers in the second plane, whose steps are 2^7 as large. Each
weight is 0 in the other plane. One table of 16-bit entries serves both.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from intact.numerics.grids import NumberGrid
from intact.quantizing.quantizers.assemble import assemble, segments
from intact.quantizing.quantizers.base import InputStatistics, QuantizedMatrix, Quantizer
from intact.quantizing.quantizers.fixed import FixedRows, coarser, fix_rows, nearest
from intact.quantizing.quantizers.scales import RULES
from intact.quantizing.quantizers.spec import Spec

APART: Final = 7
"""A step of the second plane is 2^7 steps of the first."""
SCALE_BITS: Final = 15 - APART
"""Bits of the first plane's scale, which leave 15 for the second plane's scale."""
FINER: Final = 14
"""Bits added to a row's 22: an E4M3 number takes up to 18 bits, which would leave few for its step."""
_SIZES: Final = sorted({*range(8)} | {fraction << power for power in range(15) for fraction in range(8, 16)})[:-1]
NUMBERS: Final = NumberGrid("e4m3", (*(-size for size in reversed(_SIZES[1:])), *_SIZES), "arXiv 2209.05433")
"""All E4M3 numbers in units of 2^-9; the largest code is NaN, so the largest number is 448."""


class Fp8(Quantizer):
    """FP8 E4M3, rounded to nearest."""

    name = "fp8"
    summary = "8-bit floats, with separate planes for small and large values"
    source = "Micikevicius et al., arXiv 2209.05433; with @power OCP Microscaling's MXFP8"
    grids = ("e4m3",)
    rules = ("largest", "power")
    rule = "largest"

    def __call__(self, matrix: NDArray[np.float32], spec: Spec, inputs: InputStatistics | None) -> QuantizedMatrix:
        """Quantise a matrix; see `Quantizer`."""
        columns = matrix.shape[1]
        rows = fix_rows(matrix)
        blocks = FixedRows(np.ldexp(rows.x, FINER), rows.exponent - FINER).blocks(spec.width(columns))
        scale, t = RULES[spec.rule](blocks, NUMBERS)
        more = np.maximum(np.frexp(scale.max(axis=1).astype(np.float64))[1] - SCALE_BITS, 0).astype(np.int64)
        scale, t = np.minimum(coarser(scale, more), (1 << SCALE_BITS) - 1), t + more
        numbers = nearest(blocks.x, np.ldexp(scale.astype(np.float64), t[:, None]), NUMBERS).reshape(rows.x.shape)
        small = np.abs(numbers) < 1 << 3 + APART
        planes = np.concatenate([np.where(small, numbers, 0), np.where(small, 0, numbers / (1 << APART))], axis=1)
        scales = np.concatenate([scale, scale << APART], axis=1)
        index = segments([np.arange(columns)] * 2, columns)
        return QuantizedMatrix(
            assemble(spec, columns, planes, (scales, t), exponent=blocks.exponent, offsets=None, inputs=index)
        )


FP8 = Fp8()
