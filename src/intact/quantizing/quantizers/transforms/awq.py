"""AWQ: channels of large inputs get finer steps, as far as that lowers the error of the products.

Lin et al., arXiv 2306.00978. s_j = mean|x_j|^a over the root of the largest times the least; a is the one of 0, 1/20,
..., 19/20 that gives the least error of the products, tr(D H DT), with D = (Q(W diag(s)) - W diag(s)) diag(1/s).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from intact._base.errors import ParameterError
from intact._base.exact import exp, ln, total
from intact.quantizing.quantizers.base import Floats, InputStatistics
from intact.quantizing.quantizers.fixed import FRACTION, fix_rows
from intact.quantizing.quantizers.nearest import fit_levels
from intact.quantizing.quantizers.proxy import output_error
from intact.quantizing.quantizers.spec import Spec
from intact.quantizing.quantizers.transforms.base import FloatModel, TensorEdits, Transform, Weights
from intact.quantizing.quantizers.transforms.folding import ScalableInput, all_inputs
from intact.quantizing.quantizers.transforms.structure import ModelStructure

GRID: Final = 20
"""Values of a that are tried."""
ROWS: Final = 128
"""Of a matrix that are tried, evenly spaced, where it has more: they share their scales."""
LEAST: Final = 1e-4
"""Of a mean of inputs, in the largest."""


class Awq(Transform):
    """AWQ's scales for inputs behind norms, of output projections, and of down projections."""

    name = "awq"
    summary = "input channels scaled by mean|x|^a, the best of 20 a by the error of the products"
    source = "AWQ, arXiv 2306.00978"
    calibrated = True

    def check(self, model: ModelStructure, specs: tuple[Spec, ...]) -> None:
        """Raise ParameterError if a grid has several planes: rounding to nearest knows none."""
        for spec in specs:
            if spec.levels.planes > 1:
                raise ParameterError(f"awq: {spec}: scales are searched by rounding to nearest, on grids of one plane")

    def __call__(self, model: FloatModel) -> TensorEdits:
        """Return the changes; see `Transform`."""
        if model.statistics is None or not model.specs:
            raise ParameterError("awq: needs calibration and a spec; name a text")
        edits, inputs = TensorEdits(), list(all_inputs(model.structure))
        specs = tuple({searched(spec): None for spec in model.specs})
        for done, where in enumerate(inputs):
            model.progress(done, len(inputs))
            matrices = [sampled_rows(model.read(name)) for name in where.matrices]
            where.fold(edits, best_scales(where, matrices, model.statistics(where.op), specs))
        return edits


def sampled_rows(matrix: Weights) -> Weights:
    """Return the rows that are tried."""
    return matrix[[len(matrix) * i // ROWS for i in range(ROWS)]] if len(matrix) > ROWS else matrix


def searched(spec: Spec) -> Spec:
    """Return the spec that the error is measured with: rounding to nearest, with the quickest rule of scales."""
    return replace(spec, quantizer="nearest", rule="largest" if spec.rule == "search" else spec.rule)


def best_scales(
    where: ScalableInput, matrices: list[Weights], inputs: InputStatistics, specs: tuple[Spec, ...]
) -> Floats:
    """Return the scales of the least error, summed over matrices and specs; of equals those of the least a.

    Returns
    -------
    float64, one for each channel that the maker makes
    """
    columns = matrices[0].shape[1]
    root = channel_roots(where.pool(inputs.total[:columns], np.add))
    scales, best, found = np.ones(len(root)), np.inf, np.ones(len(root))
    for _ in range(GRID):
        normal = scales / np.sqrt(scales.max() * scales.min())
        wide = where.spread(normal)
        cost = total(output_error(rounding_error(w, wide, spec) / wide, inputs) for w in matrices for spec in specs)
        if cost < best:
            best, found = cost, normal
        scales = scales * root
    return found


def channel_roots(means: Floats | np.ndarray) -> Floats:
    """Return the 20th roots of positive numbers in units of the largest, at least 1e-4."""
    largest = max(1, int(means.max()))
    return np.array([exp(ln(max(LEAST, mean / largest)) / GRID) for mean in means.tolist()])


def rounding_error(matrix: Weights, scales: Floats, spec: Spec) -> Floats:
    """Return what rounding the scaled matrix to the nearest levels changes, float64 (N, K)."""
    columns = matrix.shape[1]
    rows = fix_rows((matrix * scales).astype(np.float32))
    levels, steps = fit_levels(rows, spec, columns)
    blocks = rows.blocks(spec.width(columns))
    levels = levels.reshape(blocks.x.shape)
    error = blocks.x - (levels * steps.step[..., None] + steps.offset[..., None])
    unit: Floats = np.ldexp(error.reshape(rows.x.shape)[:, :columns], (rows.exponent - FRACTION)[:, None])
    return unit


AWQ = Awq()
