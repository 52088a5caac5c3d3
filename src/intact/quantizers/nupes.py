"""NUPES: levels |q|^(1/a) for whole numbers q, with the exponent a of the least error for each matrix.

PowerQuant (Yvinec et al., arXiv 2301.09858) searches one a for a whole model by the sum of the matrices' errors; NUPES
(arXiv 2308.05600) has one for each layer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from intact.quantizers.base import InputStatistics, QuantizedMatrix, Quantizer
from intact.quantizers.fixed import fix_rows
from intact.quantizers.nearest import fit_steps, round_rows
from intact.quantizers.spec import Spec

EXPONENTS: Final = {
    10: "int4s", 9: "nupes4a9", 8: "nupes4a8", 7: "nupes4a7", 6: "nupes4a6", 5: "nupes4", 4: "nupes4a4", 3: "nupes4a3",
}  # fmt: skip
"""The grids of the exponents, in tenths: of those of equal error the first is taken."""


class Nupes(Quantizer):
    """Rounding to nearest on the power grid that fits a matrix best."""

    name = "nupes"
    summary = "nearest, on the power grid of the exponent, .3 to 1, that fits the matrix best"
    source = "Yvinec et al., arXiv 2301.09858 and 2308.05600"
    grids = ("nupes4",)

    def __call__(self, matrix: NDArray[np.float32], spec: Spec, inputs: InputStatistics | None) -> QuantizedMatrix:
        """Quantise a matrix; see `Quantizer`. The errors of all rows are added as integers of one unit."""
        rows, columns = fix_rows(matrix), matrix.shape[1]
        shifts = (2 * (rows.exponent - rows.exponent.min())).tolist()
        found = []
        for grid in EXPONENTS.values():
            one = replace(spec, grid=grid)
            weight, errors = round_rows(rows, fit_steps(rows, one, columns), one, columns)
            found.append((sum(e << s for e, s in zip(errors, shifts, strict=True)), weight))
        return QuantizedMatrix(min(found, key=lambda pair: pair[0])[1])


NUPES = Nupes()
