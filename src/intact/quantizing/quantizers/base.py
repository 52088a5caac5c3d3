"""Quantisers, the statistics that they are given, and the matrices that they return."""

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
    """Sums over the inputs x of one product, gathered on a calibration text by the engine, exactly.

    Inputs are integers in units of 2^exponent, of at most 20 bits.
    """

    rows: int
    """Tokens."""
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
    """tr(D H DT) / rows, the mean squared error of the products on the calibration text, where a quantiser knows it."""
    blocks: Bytes | None = None
    """Of a spec of a GGUF type its blocks; `weight` is what the engine makes of them."""


class Quantizer(ABC):
    """A way to choose codes and scales. A subclass is one quantiser; its instance in its module is found by its name.

    Its results depend on its arguments alone, to the bit: integers, or float64 by elementwise `+ - * /` and roots in
    a fixed order. Sums over floats by NumPy, whose order depends on the machine, have no place here.
    """

    name: str
    summary: str
    source: ClassVar[str]
    calibrated: ClassVar[bool] = False
    """If true, it needs `InputStatistics`."""
    grids: ClassVar[tuple[str, ...]] = ()
    """The grids that it takes; without any, all of one plane."""
    sized_by_inputs: ClassVar[bool] = False
    """If true, the bits of a matrix depend on its inputs, so that a mixture cannot plan with them."""
    rules: ClassVar[tuple[str, ...]] = tuple(RULES)
    """The rules of scales that it takes."""
    rule: ClassVar[str] = "search"
    """The rule of a spec that names none."""

    def places(self, columns: int) -> int:
        """Return how many weights the codes of a row of so many columns are in memory, for each of a spec's planes."""
        return columns

    @abstractmethod
    def __call__(self, matrix: NDArray[np.float32], spec: Spec, inputs: InputStatistics | None) -> QuantizedMatrix:
        """Quantise a matrix.

        Parameters
        ----------
        matrix : float32 (N, K), finite
        spec : the grid, its blocks and the rule of its scales
        inputs : of the K inputs; None unless `calibrated`

        Raises
        ------
        ParameterError
            If the spec cannot hold the matrix.
        """
