"""Matrices packed into the panels that the native kernels read."""

from __future__ import annotations

from intact import _native
from intact.checkpoints.formats import Tensor
from intact.numerics.integers import INTEGER, from_bytes
from intact.numerics.weights import BlockWeight


def pack(weight: BlockWeight, threads: int = 1) -> _native.Weight:
    """Pack an integer weight into the panels that the kernels read."""
    return _native.pack_integers(
        weight.codes, weight.columns, weight.bits, weight.block, weight.zero, weight.shift, weight.table,
        weight.scale, weight.scale_exp, weight.minimum, weight.minimum_exp, threads,
    )  # fmt: skip


def pack_tensor(tensor: Tensor, bits: int, threads: int) -> _native.Weight:
    """Pack a matrix of a checkpoint; a matrix stored as floats gets codes of `bits` bits, 8 or 4."""
    if tensor.kind == INTEGER:
        return pack(from_bytes(tensor.data), threads)
    rows, columns = tensor.shape
    return _native.convert(tensor.kind, tensor.data, rows, columns, bits, threads)
