"""High-impact columns: those with the highest cost on a text get a second code plane (Layer-wise high-impact ratio).

After rounding a matrix, the rounding errors of its high-impact columns are rounded once more, into a second plane.
A column's impact is its share of the products' mean squared error: its squared errors times the input's second moment.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.quantizing.quantizers.assemble import assemble, segments
from intact.quantizing.quantizers.base import InputStatistics, QuantizedMatrix, Quantizer
from intact.quantizing.quantizers.fixed import Blocks, Floats, Int, coarser, fix_rows, nearest
from intact.quantizing.quantizers.nearest import fit_steps, nearest_levels
from intact.quantizing.quantizers.scales import RULES
from intact.quantizing.quantizers.spec import Spec


def impact(left: Floats, exponent: Int, second: Int) -> Floats:
    """Return each column's squared errors times the second moment of its input, float64 (K,).

    Parameters
    ----------
    left : float64 (N, K)
        Errors, in units of 2^(exponent - 22).
    exponent : int64 (N,)
    second : int64 (K,)
    """
    sums = np.zeros(left.shape[1])
    for row in np.ldexp(left, (exponent - exponent.max())[:, None]):  # row by row: a fixed order of sums
        sums += row * row
    return sums * second


class Impact(Quantizer):
    """Two planes of codes for a share of each matrix's columns, one plane for the rest."""

    source = "Layer-Wise High-Impact Parameter Ratio Optimization in Post-Training Quantization"
    calibrated = True
    grids = ("int2", "int3", "int4")
    rules = ("search", "largest")

    def __init__(self, per_cent: int) -> None:
        self.per_cent = per_cent
        self.name = f"impact{per_cent}"
        self.summary = f"the {per_cent}% of a matrix's columns that cost most on the text have two planes of codes"

    def second(self, columns: int) -> int:
        """Return the number of columns with a second plane, in whole blocks of 32."""
        return min(-(-columns * self.per_cent // 3200) * 32, -(-columns // 32) * 32)

    def places(self, columns: int) -> int:
        """Return the number of codes in a row of `columns` weights; see `Quantizer.places`."""
        return -(-columns // 32) * 32 + self.second(columns)

    def __call__(self, matrix: NDArray[np.float32], spec: Spec, inputs: InputStatistics | None) -> QuantizedMatrix:
        """Quantise a matrix; see `Quantizer`."""
        if inputs is None:
            raise ParameterError(f"{spec} needs calibration; give a calibration text")
        columns, grid, block = matrix.shape[1], spec.levels, spec.layout(matrix.shape[1]).block
        rows = fix_rows(matrix)
        steps = fit_steps(rows, spec, columns)
        width = spec.width(columns)
        left = rows.x - nearest_levels(rows, steps, spec, columns) * np.repeat(steps.step, width, axis=1)
        cost = impact(left[:, :columns], rows.exponent, inputs.second.diagonal()[:columns])
        chosen = np.sort(np.argsort(-cost, kind="stable")[: self.second(columns)])
        padding = ((0, 0), (0, -len(chosen) % 32))

        def again(left: Floats) -> Floats:
            return np.pad(left[:, chosen], padding).reshape(len(left), -1, block)

        first = np.repeat(steps.scales[0], width // block, axis=1), steps.scales[1]
        scale, t = _in_one_unit(first, RULES[spec.rule](Blocks(again(left), rows.exponent), grid))
        step = np.ldexp(scale.astype(np.float64), t[:, None])
        whole, count = rows.x.reshape(len(matrix), -1, block), first[0].shape[1]
        levels = nearest(whole, step[:, :count], grid)
        left = (whole - levels * step[:, :count, None]).reshape(rows.x.shape)
        more = nearest(again(left), step[:, count:], grid)
        both = np.concatenate([levels, more], axis=1).reshape(len(matrix), -1)
        index = segments([np.arange(columns), chosen], columns)
        return QuantizedMatrix(
            assemble(spec, columns, both, (scale, t), exponent=rows.exponent, offsets=None, inputs=index)
        )


def _in_one_unit(first: tuple[Int, Int], second: tuple[Int, Int]) -> tuple[Int, Int]:
    """Return the scales of two planes side by side, with one exponent per row."""
    t = np.maximum(first[1], second[1])
    return np.concatenate([coarser(scale, t - own) for scale, own in (first, second)], axis=1), t


IMPACT2, IMPACT5, IMPACT10, IMPACT15, IMPACT20 = map(Impact, (2, 5, 10, 15, 20))
"""The shares used in the paper."""
