"""Convert tensors to the integer vectors and matrices that operations compute with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ModelError
from intact.checkpoints.formats import Tensor
from intact.checkpoints.formats.tensor import release
from intact.models.aspects.tables import Tables
from intact.numerics.dequantize import dequantize
from intact.numerics.integers import INTEGER, from_bytes
from intact.numerics.outliers import with_rest
from intact.numerics.weight_formats import FLOAT_FORMATS
from intact.numerics.weights import BlockWeight, from_blocks, from_floats


def float_values(tensor: Tensor, length: int, where: object) -> NDArray[np.float32]:
    """Return a vector stored as F32, F16 or BF16 as float32; `where` names the file in error messages."""
    if tensor.shape != (length,):
        raise ModelError(f"{where}: tensor {tensor.name} has shape {tensor.shape}, expected ({length},)")
    if tensor.kind not in FLOAT_FORMATS:
        raise ModelError(f"{where}: tensor {tensor.name} is {tensor.kind}, expected {', '.join(FLOAT_FORMATS)}")
    values = dequantize(tensor.kind, tensor.data, tensor.shape)
    for part in tensor.stored:
        release(part)  # the system may have mapped megabytes around it
    if not np.all(np.isfinite(values)):
        raise ModelError(
            f"{where}: tensor {tensor.name} has NaN or infinite values (first at {np.argmin(np.isfinite(values))})"
        )
    return values


def bias_values(tables: Tables, name: str) -> NDArray[np.float32]:
    """Return a bias as float32."""
    tensor = tables.tensors[name]
    return float_values(tensor, tensor.shape[0], "bias")


def fixed_bias(tensor: Tensor, fraction: int) -> NDArray[np.int64]:
    """Return a bias with this many fraction bits.

    Raises
    ------
    ModelError
        If a value is too large.
    """
    values = float_values(tensor, tensor.shape[0], "bias").astype(np.float64)
    if np.abs(values).max() >= 1 << 14:
        raise ModelError(f"tensor {tensor.name}: values of 16,384 and more do not fit fixed point")
    return np.floor(np.ldexp(values, fraction) + 0.5).astype(np.int64)


def integer_bias(tables: Tables, name: str, fraction: int) -> NDArray[np.int64]:
    """Return a bias with this many fraction bits."""
    return fixed_bias(tables.tensors[name], fraction)


def integer_weight(tensor: Tensor, bits: int, outliers: int = 0) -> BlockWeight:
    """Return a matrix as an integer weight; floats are quantised to `bits` bits.

    Parameters
    ----------
    outliers : int
        Number of outlier blocks, whose remainders beyond 8 bits are also multiplied by the matrix (`with_outliers`).

    Raises
    ------
    ModelError
        If the tensor cannot be converted.
    """
    shape = (tensor.shape[0], tensor.shape[1])
    try:
        if tensor.kind == INTEGER:
            weight = from_bytes(tensor.data)
            return with_rest(weight, outliers) if outliers else weight
        if tensor.kind in FLOAT_FORMATS:
            return from_floats(dequantize(tensor.kind, tensor.data, shape), bits)
        return from_blocks(tensor.kind, tensor.data, shape)
    except ModelError as error:
        raise ModelError(f"tensor {tensor.name}: {error}") from error
