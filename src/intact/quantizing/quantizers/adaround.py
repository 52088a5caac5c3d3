"""AdaRound without gradients: round each value down or up to minimise the products' error (arXiv 2004.10568)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.quantizing.quantizers.base import Floats, InputStatistics, QuantizedMatrix, Quantizer
from intact.quantizing.quantizers.block_types import PLAIN_TYPES
from intact.quantizing.quantizers.columns import factor, round_columns
from intact.quantizing.quantizers.descent import Rounding, descend, mean_error, rounding_of
from intact.quantizing.quantizers.fixed import fix_rows
from intact.quantizing.quantizers.nearest import assemble_steps, fit_steps
from intact.quantizing.quantizers.scales import RULES
from intact.quantizing.quantizers.spec import Spec


def best_end(problem: Rounding, start: Floats, bounded: bool) -> tuple[Floats, Floats]:
    """Descend from the nearest levels and from `start`; return the better levels, float64 (N, K), and their errors.

    The choice is made row by row; ties go to the descent from the nearest levels.

    Parameters
    ----------
    bounded : bool
        If true, restrict each value to the two levels around it, and clip `start` to them.
    """
    if bounded:
        low, high = problem.neighbours()
    else:
        low, high = (np.full(start.shape, float(end)) for end in (problem.grid.levels[0], problem.grid.levels[-1]))
    levels, errors = descend(problem, problem.nearest(), low, high)
    others, theirs = descend(problem, np.clip(start, low, high), low, high)
    better = theirs < errors
    return np.where(better[:, None], others, levels), np.where(better, theirs, errors)


class AdaRound(Quantizer):
    """Descent from the nearest levels and from GPTQ's, between the two levels around a value or over the whole grid."""

    calibrated = True
    rules = (*RULES, *PLAIN_TYPES)

    def __init__(self, name: str, summary: str, source: str, bounded: bool) -> None:
        self.name, self.summary, self.source = name, summary, source  # type: ignore[misc]
        self.bounded = bounded

    def __call__(self, matrix: NDArray[np.float32], spec: Spec, inputs: InputStatistics | None) -> QuantizedMatrix:
        """Quantise a matrix; see `Quantizer`."""
        if inputs is None:
            raise ParameterError(f"{spec} needs calibration; give a calibration text")
        columns = matrix.shape[1]
        rows = fix_rows(matrix)
        steps = fit_steps(rows, spec, columns, inputs.second.diagonal()[:columns])
        problem = rounding_of(rows, steps, columns, spec.width(columns), inputs=inputs, grid=spec.levels)
        start, _ = round_columns(problem.wanted, problem.step, problem.offset, *factor(problem.h), spec.levels)
        found, errors = best_end(problem, start, self.bounded)
        levels = np.zeros(rows.x.shape)
        levels[:, :columns] = found
        return assemble_steps(
            spec, columns, levels, steps, exponent=rows.exponent, proxy=mean_error(errors, rows, inputs)
        )


ADAROUND = AdaRound(
    "adaround",
    "each value rounded down or up, by descent on the products' error",
    "Nagel et al., arXiv 2004.10568",
    bounded=True,
)
DESCENT = AdaRound(
    "descent",
    "the same over the whole grid",
    "Nair and Suggala, arXiv 2406.17542 (CDQuant)",
    bounded=False,
)
