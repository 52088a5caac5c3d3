"""GPTQ: round columns one after another, compensating for each column's error in the later ones.

Frantar et al., arXiv 2210.17323. With H = R diag(D) RT, R unit upper triangular, column k is rounded after adding the
errors of the columns before it, weighted by R. This equals the paper's update by the Cholesky factor of H's inverse,
but needs no inverse; the remaining tr(delta H deltaT) is sum D_k e_k^2 (QuIP, arXiv 2307.13304, theorem 6).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact._base.exact import total
from intact.quantizing.quantizers.base import Floats, InputStatistics, QuantizedMatrix, Quantizer
from intact.quantizing.quantizers.block_types import PLAIN_TYPES
from intact.quantizing.quantizers.columns import factor, round_columns
from intact.quantizing.quantizers.fixed import FRACTION, fix_rows
from intact.quantizing.quantizers.nearest import assemble_steps, fit_steps
from intact.quantizing.quantizers.scales import RULES
from intact.quantizing.quantizers.spec import Spec

DAMPING: Final = 0.01
"""Value added to the diagonal, as a fraction of its mean."""


def damped(second: NDArray[np.int64], columns: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the second moments as float64 with a damped diagonal, and a mask of dead inputs, which are always 0.

    Dead inputs get a diagonal of 1, as in the authors' code, which sets their weights to 0.
    """
    h = second[:columns, :columns].astype(np.float64)
    dead = second.diagonal()[:columns] == 0
    whole = sum(second.diagonal()[:columns].tolist())
    h[np.diag_indices(columns)] += DAMPING * (whole / columns)
    h[dead, dead] = np.maximum(h[dead, dead], 1.0)
    return h, dead


class Gptq(Quantizer):
    """GPTQ with scales fitted in advance (`static-groups`), in the order of the inputs or of their moments."""

    calibrated = True
    rules = (*RULES, *PLAIN_TYPES)
    source = "Frantar et al., arXiv 2210.17323; the order by activations: IST-DASLab/gptq"

    def __init__(self, name: str, summary: str, by_activation: bool) -> None:
        self.name, self.summary = name, summary
        self.by_activation = by_activation

    def __call__(self, matrix: NDArray[np.float32], spec: Spec, inputs: InputStatistics | None) -> QuantizedMatrix:
        """Quantise a matrix; see `Quantizer`."""
        if inputs is None:
            raise ParameterError(f"{spec} needs calibration; give a calibration text")
        columns, width = matrix.shape[1], spec.width(matrix.shape[1])
        rows = fix_rows(matrix)
        steps = fit_steps(rows, spec, columns, inputs.second.diagonal()[:columns])
        step, offset = (np.repeat(a, width, axis=1)[:, :columns] for a in (steps.step, steps.offset))
        h, dead = damped(inputs.second, columns)
        original = rows.x[:, :columns].copy()
        original[:, dead] = 0
        order = np.argsort(-h.diagonal(), kind="stable") if self.by_activation else np.arange(columns)
        r, d = factor(h[np.ix_(order, order)])
        levels = np.zeros(rows.x.shape)
        levels[:, order], left = round_columns(
            original[:, order], step[:, order], offset[:, order], r, d=d, grid=spec.levels
        )
        left *= np.ldexp(1.0, 2 * (rows.exponent - FRACTION))
        proxy = total(left.tolist()) * np.ldexp(1.0, 2 * inputs.exponent) / inputs.rows
        return assemble_steps(spec, columns, levels, steps, exponent=rows.exponent, proxy=proxy)


GPTQ = Gptq("gptq", "columns in order, each compensating for earlier errors", by_activation=False)
GPTQ_ORDERED = Gptq("gptq_ordered", "the same, with the largest inputs first (act-order)", by_activation=True)
