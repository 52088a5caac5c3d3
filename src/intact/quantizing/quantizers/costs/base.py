"""The interface of a cost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from intact.numerics.weights import BlockWeight
from intact.quantizing.quantizers.base import InputStatistics


class MatrixCost(ABC):
    """A number for what a quantised matrix loses; a mixture keeps the sum over all matrices least.

    A subclass is one cost; its instance in its module is found by its name. Like a quantiser's, its result depends on
    its arguments alone, to the bit.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    measured: ClassVar[bool] = False
    """If true, it is multiplied by the matrix's slope: the divergence that noise in it causes, measured."""

    @abstractmethod
    def __call__(self, matrix: NDArray[np.float32], weight: BlockWeight, inputs: InputStatistics) -> float:
        """Return the cost, at least 0.

        Parameters
        ----------
        matrix : float32 (N, K)
        weight : the same, quantised
        inputs : of its K inputs
        """
