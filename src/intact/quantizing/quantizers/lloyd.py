"""Lloyd-Max levels of the normal distribution, scaled by the standard deviation of a block (Q-Palette's NUQ).

Max, "Quantizing for minimum distortion", 1960; snu-mllab/Q-Palette, which applies a random rotation to weights first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from intact.quantizing.quantizers.base import InputStatistics, QuantizedMatrix, Quantizer
from intact.quantizing.quantizers.fixed import FixedRows, Int, fix_rows, to_int16
from intact.quantizing.quantizers.nearest import Steps, round_rows
from intact.quantizing.quantizers.spec import Spec


def deviation_steps(rows: FixedRows, spec: Spec, columns: int) -> tuple[Int, Int]:
    """Return scales that map a block's root mean square to one standard deviation of the grid."""
    width = spec.width(columns)
    x = rows.blocks(width).x
    power = (x * x).astype(np.int64).sum(axis=2)
    count = np.clip(columns - width * np.arange(x.shape[1]), 1, width)  # without the padding
    deviation = np.sqrt(power.astype(np.float64) / count)
    return to_int16(np.floor(deviation / spec.levels.deviation + 0.5).astype(np.int64), least=1)


class Lloyd(Quantizer):
    """Round to the Lloyd-Max levels of N(0, 1)."""

    name = "lloyd"
    summary = "nearest of the Lloyd-Max levels of a normal distribution with the block's deviation"
    source = "Max, 1960; snu-mllab/Q-Palette: NUQ"
    grids = ("lloyd2", "lloyd3", "lloyd4")

    def __call__(self, matrix: NDArray[np.float32], spec: Spec, inputs: InputStatistics | None) -> QuantizedMatrix:
        """Quantise a matrix; see `Quantizer`."""
        rows, columns = fix_rows(matrix), matrix.shape[1]
        steps = Steps(deviation_steps(rows, spec, columns), None)
        return round_rows(rows, steps, spec, columns)


LLOYD = Lloyd()
