"""The interface of quantisers, the statistics they receive and the matrices they return."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact.numerics.weight_formats import Bytes
from intact.numerics.weights import BlockWeight
from intact.quantizing.quantizers.scales import RULES
from intact.quantizing.quantizers.spec import Spec

Floats = NDArray[np.float64]


class InputStatistics(NamedTuple):
    """Exact sums over the inputs x of one product, gathered by the engine on a calibration text.

    Inputs are integers of at most 20 bits, in units of 2^exponent.
    """

    rows: int
    """Number of tokens."""
    exponent: int
    second: NDArray[np.int64]
    """(K, K): the sum of x xT."""
    largest: NDArray[np.int64]
    """(K,): the largest \\|x\\|."""
    total: NDArray[np.int64]
    """(K,): the sum of \\|x\\|."""


class QuantizedMatrix(NamedTuple):
    """A quantised matrix."""

    weight: BlockWeight
    proxy: float | None = None
    """tr(D H DT) / rows, the mean squared error of the products on the calibration text, if the quantiser knows it."""
    blocks: Bytes | None = None
    """The blocks, if the spec has a GGUF type; `weight` is the engine's form of them."""


class Quantizer(ABC):
    """A method of choosing codes and scales. Each subclass is one quantiser, found by its module-level instance.

    Results must depend only on the arguments, to the bit: use integers, or float64 with elementwise `+ - * /` and roots
    in a fixed order. Do not sum floats with NumPy, because its order of summation depends on the machine.
    """

    name: str
    summary: str
    source: ClassVar[str]
    calibrated: ClassVar[bool] = False
    """If true, the quantiser needs `InputStatistics`."""
    grids: ClassVar[tuple[str, ...]] = ()
    """The supported grids; if empty, all grids of one plane."""
    sized_by_inputs: ClassVar[bool] = False
    """If true, the number of bits depends on the matrix's inputs, so a mixture cannot plan with the quantiser."""
    rules: ClassVar[tuple[str, ...]] = tuple(RULES)
    """The supported rules of scales."""
    rule: ClassVar[str] = "search"
    """The default rule."""

    def places(self, columns: int) -> int:
        """Return the number of codes that a row of `columns` weights takes in memory, per plane of the spec."""
        return columns

    @abstractmethod
    def __call__(self, matrix: NDArray[np.float32], spec: Spec, inputs: InputStatistics | None) -> QuantizedMatrix:
        """Quantise a matrix.

        Parameters
        ----------
        matrix : float32 (N, K), finite
        spec : the grid, its blocks and the rule of its scales
        inputs : statistics of the K inputs; None unless `calibrated`

        Raises
        ------
        ParameterError
            If the spec cannot represent the matrix.
        """
