"""The error of the weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from intact.numerics.weights import BlockWeight, model_values
from intact.quantizing.quantizers.base import InputStatistics
from intact.quantizing.quantizers.costs.base import MatrixCost
from intact.quantizing.quantizers.proxy import squares


class NormCost(MatrixCost):
    """The squared norm of the weights' error, independent of the inputs."""

    name = "norm"
    summary = "the squared error of the weights"
    source = "Wu et al., arXiv 2004.09602"

    def __call__(self, matrix: NDArray[np.float32], weight: BlockWeight, inputs: InputStatistics) -> float:
        """Return the cost; see `MatrixCost`."""
        return float(squares(matrix.astype(np.float64) - model_values(weight)))


NORM = NormCost()
