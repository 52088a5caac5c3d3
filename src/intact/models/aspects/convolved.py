"""Convolutions over positions: their weights, and the rows they keep in the cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ModelError
from intact.checkpoints.formats import Tensor
from intact.models.aspects.parameters import float_values
from intact.models.aspects.step import ReferenceStep, Rows
from intact.models.aspects.tables import Tables
from intact.numerics.convolve import ConvolutionRows, integer_taps


class Convolved(Protocol):
    """An operation that convolves each of its channels over `taps` positions."""

    @property
    def weight(self) -> str:
        """Name of the tensor of its weights."""

    @property
    def taps(self) -> int:
        """Number of positions."""

    @property
    def channels(self) -> int:
        """Number of channels."""


def tap_values(tables: Tables, op: Convolved) -> NDArray[np.float32]:
    """Return a convolution's weights as float32 (channels, taps); the last column belongs to the current position."""
    tensor, count = tables.tensors[op.weight], op.channels * op.taps
    flat = Tensor(tensor.name, tensor.kind, (count,), tensor.data)
    return float_values(flat, count, "convolution").reshape(op.channels, op.taps)


def convolution_taps(tables: Tables, op: Convolved) -> NDArray[np.int64]:
    """Return a convolution's weights in Q20, int64 (channels, taps).

    Raises
    ------
    ModelError
        If there are too many taps, or a weight is too large.
    """
    try:
        return integer_taps(tap_values(tables, op))
    except ValueError as error:
        raise ModelError(f"tensor {tables.tensors[op.weight].name}: {error}") from error


def native_taps(tables: Tables, op: Convolved) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the weights as integers and as float32 in the extension's layout: (taps, channels), flattened."""
    integers, floats = convolution_taps(tables, op).T.reshape(-1), tap_values(tables, op).T.reshape(-1)
    return np.ascontiguousarray(integers), np.ascontiguousarray(floats)


def seen_rows(s: ReferenceStep, op: Convolved, new: ConvolutionRows) -> Iterator[list[tuple[Rows, int]]]:
    """Store a convolution's rows; yield the codes and exponents that each row sees: its own, then earlier rows'."""
    codes, exponent = s.memory.cached(op)[:2]
    for chunk, rows, slots, own in s.by_chunk():
        codes[own], exponent[own] = new.codes[rows], new.exponent[rows]
        for m in range(len(chunk.tokens)):
            seen = slots[chunk.seen(m)[: -op.taps - 1 : -1]]
            yield [(codes[slot], int(exponent[slot])) for slot in seen]
