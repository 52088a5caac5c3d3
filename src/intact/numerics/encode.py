"""Encode codes and scales as blocks of GGUF types: the inverse of `intact.numerics.weights.decode`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.numerics.weight_formats import BLOCK_FORMATS, BlockFields, Bytes

Int = NDArray[np.int64]
Floats = NDArray[np.float64]


class BlockScales(NamedTuple):
    """The scales of a matrix as stored in its blocks (`BlockFormat`)."""

    halves: tuple[Floats, ...]
    """d and, for formats with minima, e: (N, blocks) each, values representable in float16."""
    scale: Int | None = None
    """Shape (N, sub-blocks)."""
    minimum: Int | None = None


def encode(kind: str, codes: Bytes, scales: BlockScales) -> Bytes:
    """Return the bytes of a matrix as a one-dimensional array.

    Parameters
    ----------
    kind : name of the format
    codes : uint8 (N, K)
    scales : BlockScales

    Raises
    ------
    ParameterError
        If the format cannot be written, or rows are not a whole number of blocks.
    """
    form = BLOCK_FORMATS[kind]
    if form.pack is None:
        raise ParameterError(f"{kind} is not written; the types that are: {', '.join(WRITTEN)}")
    rows, columns = codes.shape
    if columns % form.values:
        raise ParameterError(f"{columns} columns of {kind}: a row should be a multiple of {form.values}")
    count = columns // form.values

    def cut(numbers: Int | None) -> Int | None:
        return None if numbers is None else numbers.reshape(rows, count, -1)

    blocks = form.pack(BlockFields(codes.reshape(rows, count, -1), cut(scales.scale), cut(scales.minimum)))
    for half, numbers in zip(form.halves, scales.halves, strict=True):
        half.write(blocks, numbers.astype(np.float16).view(np.uint16))
    return blocks.reshape(-1)


WRITTEN = tuple(name for name, form in BLOCK_FORMATS.items() if form.pack is not None)
"""Names of the formats that can be written."""
