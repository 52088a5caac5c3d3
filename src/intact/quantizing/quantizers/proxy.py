"""The proxy error of a quantised matrix, tr(D H DT), computed in integers so that it is the same on every machine."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from intact.numerics.weights import BlockWeight, model_values
from intact.quantizing.quantizers.base import InputStatistics

ERROR_BITS: Final = 12
"""Bits of an error below the largest in its row."""
SUM_BITS: Final = 53
"""Number of bits up to which float64 sums are exact in any order."""


def weigh(d: NDArray[np.float64], second: NDArray[np.int64], bits: int = ERROR_BITS) -> tuple[NDArray[np.int64], int]:
    """Return d H dT for each row d, in integers.

    H is rounded so that the sums of d H are exact.

    Parameters
    ----------
    d : float64 (..., N, K)
        Integers of at most `bits` bits and a sign.
    second : int64 (..., K, K)
        H, whose largest element is on the diagonal.

    Returns
    -------
    errors : int64 (..., N)
    exponent : int
        Errors are in units of 2^exponent, the same for all rows.
    """
    columns = second.shape[-1]
    most = int(np.diagonal(second, axis1=-2, axis2=-1).max()).bit_length()
    drop = max(0, most - (SUM_BITS - bits - columns.bit_length()))
    h = (second + (1 << drop >> 1) >> drop).astype(np.float64)
    left = (d @ h).astype(np.int64)
    spare = max(0, SUM_BITS + bits + columns.bit_length() - 62)
    errors: NDArray[np.int64] = ((left + (1 << spare >> 1) >> spare) * d.astype(np.int64)).sum(axis=-1)
    return errors, drop + spare


def proxy(matrix: NDArray[np.float32], weight: BlockWeight, inputs: InputStatistics) -> float:
    """Return the mean squared error of a quantised matrix's products on the calibration text; see `output_error`."""
    return output_error(matrix.astype(np.float64) - model_values(weight), inputs)


def output_error(error: NDArray[np.float64], inputs: InputStatistics) -> float:
    """Return tr(D H DT) / rows, the mean squared error that a weight error D causes on the calibration text.

    D, float64 (N, K), is rounded to 12 bits below the largest element of each row, and H as in `weigh`; the rest is
    computed in integers, with one rounding to float64 at the end.
    """
    d, exponents = fix_errors(error)
    columns = error.shape[1]
    rows, exponent = weigh(d, inputs.second[:columns, :columns])
    low = int(exponents.min())
    total = sum(row << 2 * (e - low) for row, e in zip(rows.tolist(), exponents.tolist(), strict=True))
    scale = Fraction(2) ** (2 * low + 2 * inputs.exponent + exponent)
    return float(max(0, total) * scale / inputs.rows)


def fix_errors(error: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Round rows to integers of 12 bits below each row's largest; return them and the exponents of their units."""
    exponents = np.frexp(np.abs(error).max(axis=1))[1].astype(np.int64) - ERROR_BITS
    return np.floor(np.ldexp(error, -exponents[:, None]) + 0.5), exponents


def squares(matrix: NDArray[np.float64]) -> Fraction:
    """Return the sum of squares of a matrix, after rounding its rows to 12 bits below each row's largest."""
    d, exponents = fix_errors(matrix)
    low = int(exponents.min())
    rows = (d * d).sum(axis=1).astype(np.int64).tolist()  # integers below 2^53: any order
    whole: int = sum(row << 2 * (e - low) for row, e in zip(rows, exponents.tolist(), strict=True))
    return whole * Fraction(2) ** (2 * low)
