"""HAWQ's cost: the mean trace of the Hessian times the squared error of the weights.

Yao et al., arXiv 2011.10680 (HAWQ-V3); Dong et al., arXiv 1911.03852, who use the Hessian of the loss.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from intact.numerics.weights import BlockWeight, model_values
from intact.quantizing.quantizers.base import InputStatistics
from intact.quantizing.quantizers.costs.base import MatrixCost
from intact.quantizing.quantizers.proxy import squares


class HawqCost(MatrixCost):
    """tr(H) / K / tokens times the squared error of the weights, with H the Hessian of the products' squared error."""

    name = "hawq"
    summary = "the mean trace of the inputs' second moments times the squared error of the weights"
    source = "Yao et al., arXiv 2011.10680"

    def __call__(self, matrix: NDArray[np.float32], weight: BlockWeight, inputs: InputStatistics) -> float:
        """Return the cost; see `MatrixCost`."""
        columns = matrix.shape[1]
        trace = sum(inputs.second.diagonal()[:columns].tolist()) * Fraction(2) ** (2 * inputs.exponent)
        return float(trace / (columns * inputs.rows) * squares(matrix.astype(np.float64) - model_values(weight)))


HAWQ = HawqCost()
