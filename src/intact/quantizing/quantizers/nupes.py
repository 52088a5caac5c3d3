"""NUPES: levels |q|^(1/a) for integers q, with the exponent a of the least error for each matrix.

PowerQuant (Yvinec et al., arXiv 2301.09858) searches for one a per model by the sum of the matrices' errors; NUPES
(arXiv 2308.05600) uses one per layer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from intact.quantizing.quantizers.base import InputStatistics, QuantizedMatrix, Quantizer
from intact.quantizing.quantizers.fixed import FixedRows, fix_rows, nearest, squared_error
from intact.quantizing.quantizers.nearest import fit_steps, round_rows
from intact.quantizing.quantizers.spec import Spec

EXPONENTS: Final = {
    10: "int4s", 9: "nupes4a9", 8: "nupes4a8", 7: "nupes4a7", 6: "nupes4a6", 5: "nupes4", 4: "nupes4a4", 3: "nupes4a3",
}  # fmt: skip
"""The grid for each exponent, in tenths; ties in error go to the first."""


def total_error(rows: FixedRows, spec: Spec, columns: int) -> int:
    """Return the squared error of rounding to nearest, summed over all rows as integers in a common unit."""
    steps, x = fit_steps(rows, spec, columns).step, rows.blocks(spec.width(columns)).x
    errors = squared_error(x, nearest(x, steps, spec.levels), steps).sum(axis=1).tolist()
    shifts = (2 * (rows.exponent - rows.exponent.min())).tolist()
    return sum(error << shift for error, shift in zip(errors, shifts, strict=True))


class Nupes(Quantizer):
    """Round to nearest on the power grid that fits a matrix best."""

    name = "nupes"
    summary = "nearest, on the power grid whose exponent, .3 to 1, fits the matrix best"
    source = "Yvinec et al., arXiv 2301.09858 and 2308.05600"
    grids = ("nupes4",)

    def __call__(self, matrix: NDArray[np.float32], spec: Spec, inputs: InputStatistics | None) -> QuantizedMatrix:
        """Quantise a matrix; see `Quantizer`."""
        rows, columns = fix_rows(matrix), matrix.shape[1]
        specs = [replace(spec, grid=grid) for grid in EXPONENTS.values()]
        best = min(specs, key=lambda one: total_error(rows, one, columns))
        return round_rows(rows, fit_steps(rows, best, columns), best, columns)


NUPES = Nupes()
