"""Q-Palette's cost: the relative error of the weights, times the divergence that noise in them causes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from intact.numerics.weights import BlockWeight, model_values
from intact.quantizing.quantizers.base import InputStatistics
from intact.quantizing.quantizers.costs.base import MatrixCost
from intact.quantizing.quantizers.proxy import squares


class DivergenceCost(MatrixCost):
    """The squared error of the weights relative to their squares; times the slope, this estimates the divergence."""

    name = "divergence"
    summary = "the relative squared error of the weights, times the measured divergence per noise"
    source = "snu-mllab/Q-Palette"
    measured = True

    def __call__(self, matrix: NDArray[np.float32], weight: BlockWeight, inputs: InputStatistics) -> float:
        """Return the cost; see `MatrixCost`. A matrix of zeros costs nothing."""
        given = matrix.astype(np.float64)
        whole = squares(given)
        return float(squares(given - model_values(weight)) / whole) if whole else 0.0


DIVERGENCE = DivergenceCost()
