"""The error of the products."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from intact.numerics.weights import BlockWeight
from intact.quantizing.quantizers.base import InputStatistics
from intact.quantizing.quantizers.costs.base import MatrixCost
from intact.quantizing.quantizers.proxy import proxy


class OutputCost(MatrixCost):
    """tr(D H DT) / tokens, with D the error of the weights and H the second moments of the inputs."""

    name = "output"
    summary = "the mean squared error of the products"
    source = "Frantar et al., arXiv 2210.17323"

    def __call__(self, matrix: NDArray[np.float32], weight: BlockWeight, inputs: InputStatistics) -> float:
        """Return the cost; see `MatrixCost`."""
        return proxy(matrix, weight, inputs)


OUTPUT = OutputCost()
