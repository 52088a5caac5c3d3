"""Conversion of convolution and state tensors to the form that programs use, regardless of the file's form."""

from __future__ import annotations

import math

import numpy as np

from intact._base.exact import exp
from intact.checkpoints.formats import Tensor
from intact.numerics.dequantize import dequantize


def as_vector(tensor: Tensor) -> Tensor:
    """Return a tensor of several dimensions as a vector; files store some per-head or per-column tensors that way."""
    if len(tensor.shape) < 2:
        return tensor
    return Tensor(tensor.name, tensor.kind, (math.prod(tensor.shape),), tensor.data)


def as_matrix(tensor: Tensor) -> Tensor:
    """Return a convolution's weights in torch's form (channels, 1, taps) as a matrix (channels, taps)."""
    if len(tensor.shape) != 3 or tensor.shape[1] != 1:
        return tensor
    return Tensor(tensor.name, tensor.kind, (tensor.shape[0], tensor.shape[2]), tensor.data)


def negative_exponential(tensor: Tensor) -> Tensor:
    """Return -exp(x) of a vector as float32, each value rounded from the nearest double."""
    values = dequantize(tensor.kind, tensor.data, tensor.shape).reshape(-1)
    found = np.array([-exp(float(x)) for x in values.tolist()], np.float64).astype("<f4")
    return Tensor(tensor.name, "F32", tensor.shape, found.view(np.uint8))
