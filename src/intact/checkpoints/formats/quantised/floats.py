"""Floats of 8 to 32 bits, in which scales and weights are stored."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from intact.checkpoints.formats.tensor import Tensor
from intact.numerics.weight_formats import FLOAT_FORMATS

SCALES: Final = ("F32", "F16", "BF16")
"""Kinds of scales; some forms use 8 bits."""


def decode_floats(tensor: Tensor) -> npt.NDArray[np.float32]:
    """Return the exact values of a float tensor, including 8-bit floats."""
    if tensor.kind in _SMALL:
        values = _SMALL[tensor.kind][tensor.data]
    else:
        values = FLOAT_FORMATS[tensor.kind].decode(tensor.data)
    found: npt.NDArray[np.float32] = values.reshape(tensor.shape)
    return found


def _e4m3() -> npt.NDArray[np.float32]:
    """Return the values of E4M3 codes (arXiv 2209.05433): no infinities, one NaN of each sign."""
    code = np.arange(256)
    exponent, fraction = code >> 3 & 15, code & 7
    size = np.where(exponent == 0, np.ldexp(fraction, -9), np.ldexp(8.0 + fraction, exponent - 10))
    size[(code & 127) == 127] = np.nan
    values: npt.NDArray[np.float32] = np.where(code & 128, -size, size).astype(np.float32)
    return values


def _e8m0() -> npt.NDArray[np.float32]:
    """Return the values of E8M0 codes (OCP Microscaling 1.0): powers of two and, for the last code, a NaN."""
    return np.append(np.ldexp(1.0, np.arange(255) - 127), np.nan).astype(np.float32)


_SMALL: Final = {"F8_E4M3": _e4m3(), "F8_E8M0": _e8m0()}
