"""The interface of a cost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from intact.numerics.weights import BlockWeight
from intact.quantizing.quantizers.base import InputStatistics


class MatrixCost(ABC):
    """The cost of quantising a matrix; a mixture minimises the sum over all matrices.

    Each subclass is one cost, found by its module-level instance. As for quantisers, results must depend only on the
    arguments, to the bit.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    measured: ClassVar[bool] = False
    """If true, the cost is multiplied by the matrix's slope: the measured divergence that noise in it causes."""

    @abstractmethod
    def __call__(self, matrix: NDArray[np.float32], weight: BlockWeight, inputs: InputStatistics) -> float:
        """Return the cost, at least 0.

        Parameters
        ----------
        matrix : float32 (N, K)
        weight : the same, quantised
        inputs : statistics of its K inputs
        """
