"""The proxy of what a quantised matrix costs: tr(D H DT), in integers, so that it is the same on every machine."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from intact.numerics.weights import BlockWeight, model_values
from intact.quantizers import InputStatistics

ERROR_BITS: Final = 12
"""Of an error, below the largest of its row."""
SUM_BITS: Final = 53
"""Sums of so many bits are exact in float64, in whatever order they are added."""


def proxy(matrix: NDArray[np.float32], weight: BlockWeight, inputs: InputStatistics) -> float:
    """Return tr(D H DT) / rows, the mean squared error of the products on the calibration text.

    D, the error of the weights, is rounded to 12 bits below the largest of each row, H to as many bits below its
    largest element as keep the sums of D H exact; the rest is integers, and one rounding to float64 at the end.
    """
    error = matrix.astype(np.float64) - model_values(weight)
    error_exp = np.frexp(np.abs(error).max(axis=1))[1].astype(np.int64) - ERROR_BITS
    d = np.floor(np.ldexp(error, -error_exp[:, None]) + 0.5)
    columns = matrix.shape[1]
    second = inputs.second[:columns, :columns]
    most = int(second.diagonal().max()).bit_length()
    drop = max(0, most - (SUM_BITS - ERROR_BITS - columns.bit_length()))
    h = (second + (1 << drop >> 1) >> drop).astype(np.float64)
    left = (d @ h).astype(np.int64)
    spare = max(0, SUM_BITS + ERROR_BITS + columns.bit_length() - 62)
    rows = ((left + (1 << spare >> 1) >> spare) * d.astype(np.int64)).sum(axis=1)
    low = int(error_exp.min())
    total = sum(row << 2 * (e - low) for row, e in zip(rows.tolist(), error_exp.tolist(), strict=True))
    scale = Fraction(2) ** (2 * low + 2 * inputs.exponent + drop + spare)
    return float(max(0, total) * scale / inputs.rows)
