"""AWQ: give channels with large inputs finer steps, to the extent that this lowers the error of the products.

Lin et al., arXiv 2306.00978. s_j = mean|x_j|^a, divided by the root of the largest times the smallest; a is the value
among 0, 1/20, ..., 19/20 with the least error of the products, tr(D H DT), with D = (Q(W diag(s)) - W diag(s))
diag(1/s).
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
"""Number of values of a to try."""
ROWS: Final = 128
"""Maximum number of rows of a matrix to try, evenly spaced; rows share scales."""
LEAST: Final = 1e-4
"""Lower limit on an input's mean, relative to the largest."""


class Awq(Transform):
    """AWQ's scales for inputs after norms, and for inputs of output and down projections."""

    name = "awq"
    summary = "input channels scaled by mean|x|^a, the best of 20 a by the error of the products"
    source = "AWQ, arXiv 2306.00978"
    calibrated = True

    def check(self, model: ModelStructure, specs: tuple[Spec, ...]) -> None:
        """Raise ParameterError if a grid has several planes, which rounding to nearest does not support."""
        for spec in specs:
            if spec.levels.planes > 1:
                raise ParameterError(
                    f"awq: {spec}: the search for scales rounds to nearest and needs a grid with one plane"
                )

    def __call__(self, model: FloatModel) -> TensorEdits:
        """Return the changes; see `Transform`."""
        if model.statistics is None or not model.specs:
            raise ParameterError("awq needs calibration and a spec; give a calibration text")
        edits, inputs = TensorEdits(), list(all_inputs(model.structure))
        specs = tuple({searched(spec): None for spec in model.specs})
        for done, where in enumerate(inputs):
            model.progress(done, len(inputs))
            matrices = [sampled_rows(model.read(name)) for name in where.matrices]
            where.fold(edits, best_scales(where, matrices, model.statistics(where.op), specs))
        return edits


def sampled_rows(matrix: Weights) -> Weights:
    """Return a matrix's rows, or an evenly spaced sample of them."""
    return matrix[[len(matrix) * i // ROWS for i in range(ROWS)]] if len(matrix) > ROWS else matrix


def searched(spec: Spec) -> Spec:
    """Return the spec used to measure the error: rounding to nearest, with the fastest scale rule."""
    return replace(spec, quantizer="nearest", rule="largest" if spec.rule == "search" else spec.rule)


def best_scales(
    where: ScalableInput, matrices: list[Weights], inputs: InputStatistics, specs: tuple[Spec, ...]
) -> Floats:
    """Return the scales with the least error, summed over matrices and specs; ties go to the smallest a.

    Returns
    -------
    float64, one per channel of the producing norm or matrix
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
    """Return the 20th roots of positive numbers relative to the largest, where each ratio is at least 1e-4."""
    largest = max(1, int(means.max()))
    return np.array([exp(ln(max(LEAST, mean / largest)) / GRID) for mean in means.tolist()])


def rounding_error(matrix: Weights, scales: Floats, spec: Spec) -> Floats:
    """Return the change from rounding the scaled matrix to the nearest levels, float64 (N, K)."""
    columns = matrix.shape[1]
    rows = fix_rows((matrix * scales).astype(np.float32))
    levels, steps = fit_levels(rows, spec, columns)
    blocks = rows.blocks(spec.width(columns))
    levels = levels.reshape(blocks.x.shape)
    error = blocks.x - (levels * steps.step[..., None] + steps.offset[..., None])
    unit: Floats = np.ldexp(error.reshape(rows.x.shape)[:, :columns], (rows.exponent - FRACTION)[:, None])
    return unit


AWQ = Awq()
