"""LLM.int8(): rows in 8 bits, with separate 16-bit columns for inputs with large values (arXiv 2208.07339)."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.quantizing.quantizers.assemble import assemble, segments
from intact.quantizing.quantizers.base import InputStatistics, QuantizedMatrix, Quantizer
from intact.quantizing.quantizers.fixed import Blocks, Floats, Int, coarser, fix_rows, nearest
from intact.quantizing.quantizers.scales import RULES
from intact.quantizing.quantizers.spec import Spec

THRESHOLD: Final = 6
"""The magnitude at or above which an input is an outlier."""
DIGIT: Final = 128
WIDE: Final = 127 * DIGIT
"""The largest magnitude of a two-digit weight."""
MOST: Final = 32767 // DIGIT
"""The largest scale of the low digits; the high digits' scale is 128 times as large."""


def outliers(inputs: InputStatistics, columns: int) -> Int:
    """Return the inputs whose magnitude reached `THRESHOLD` anywhere in the text, in ascending order."""
    least = THRESHOLD * 2.0**-inputs.exponent
    return np.flatnonzero(inputs.largest[:columns] >= least)


def wide_scales(largest: Int, t: Int) -> tuple[Int, Int]:
    """Return the smallest scales of the low digits, raising the rows' exponents t until the scales are at most `MOST`.

    Parameters
    ----------
    largest : int64 (N,)
        The largest weight of outlier inputs in each row.
    """
    t = t.copy()
    while True:
        unit = WIDE << t
        scale = np.maximum(1, (largest + unit - 1) // unit)
        over = scale > MOST
        if not over.any():
            return scale, t
        t += over


def digits(x: Floats, step: Floats) -> tuple[Floats, Floats]:
    """Split x / step, rounded, into high and low digits: 128 high + low, low from -64 to 63."""
    value = np.floor(x / step[:, None] + 0.5)
    high = np.floor((value + DIGIT // 2) / DIGIT)
    return high, value - DIGIT * high


class LlmInt8(Quantizer):
    """LLM.int8() with outliers found on a calibration text."""

    name = "llm_int8"
    summary = "8 bits, with 16 for inputs that reach 6 on the text"
    source = "Dettmers et al., arXiv 2208.07339; TimDettmers/bitsandbytes"
    calibrated = True
    grids = ("int8s",)
    sized_by_inputs = True

    def __call__(self, matrix: NDArray[np.float32], spec: Spec, inputs: InputStatistics | None) -> QuantizedMatrix:
        """Quantise a matrix; see `Quantizer`."""
        if inputs is None:
            raise ParameterError(f"{spec} needs calibration; give a calibration text")
        columns, width = matrix.shape[1], spec.width(matrix.shape[1])
        rows = fix_rows(matrix)
        apart = outliers(inputs, columns)
        large, rest = rows.x[:, apart], rows.x.copy()
        rest[:, apart] = 0
        blocks = Blocks(rest.reshape(len(rest), -1, width), rows.exponent)
        scale, t = RULES[spec.rule](blocks, spec.levels)
        own = np.arange(columns)
        own[apart] = -1
        index = segments([own, apart, apart] if len(apart) else [own], columns)
        if len(apart):
            low, raised = wide_scales(np.abs(large).max(axis=1).astype(np.int64), t)
            scale, t = coarser(scale, raised - t), raised
        steps = np.ldexp(scale.astype(np.float64), t[:, None])
        parts = [nearest(blocks.x, steps, spec.levels).reshape(rest.shape)]
        scales = [np.repeat(scale, width // 32, axis=1)]
        if len(apart):
            padding = ((0, 0), (0, -len(apart) % 32))
            places = (len(apart) + 31) // 32
            for digit, factor in zip(digits(large, np.ldexp(low.astype(np.float64), t)), (DIGIT, 1), strict=True):
                parts.append(np.pad(digit, padding))
                scales.append(np.repeat(factor * low[:, None], places, axis=1))
        levels, every = np.concatenate(parts, axis=1), np.concatenate(scales, axis=1)
        known = index if len(apart) else None
        return QuantizedMatrix(
            assemble(spec, columns, levels, (every, t), exponent=rows.exponent, offsets=None, inputs=known)
        )


LLM_INT8 = LlmInt8()
