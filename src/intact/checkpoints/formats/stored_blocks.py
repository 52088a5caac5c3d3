"""GGUF block matrices in safetensors: a one-dimensional U8 tensor that contains its type and shape.

The header has 32 bytes: the letters ``GGML``, then, as little-endian int32, the version 1, the type's number in GGUF, N
and K, then zeros. The blocks follow exactly as in a GGUF file, so the same matrix has the same digest in both.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np

from intact._base.errors import FormatError
from intact.checkpoints.formats.tensor import Tensor, byte_length
from intact.numerics.weight_formats import BLOCK_FORMATS, Bytes

_MAGIC: Final = b"GGML"
_HEADER: Final = struct.Struct("<4s4i12x")
_NAMES: Final = {form.gguf: name for name, form in BLOCK_FORMATS.items()}


def blocks_to_bytes(kind: str, shape: tuple[int, ...], data: Bytes) -> Bytes:
    """Return a matrix as bytes with its header."""
    header = _HEADER.pack(_MAGIC, 1, BLOCK_FORMATS[kind].gguf, *shape)
    return np.concatenate([np.frombuffer(header, np.uint8), data])


def starts_blocks(data: Bytes) -> bool:
    """Return true if the bytes begin with the header's letters."""
    return data[: len(_MAGIC)].tobytes() == _MAGIC


def blocks_from_bytes(name: str, data: Bytes) -> Tensor:
    """Return the matrix as a tensor of its block type, a view of the bytes.

    Raises
    ------
    FormatError
        If the header is truncated, has a different version, or does not match the bytes.
    """
    if data.size < _HEADER.size:
        raise FormatError(f"a block matrix has {data.size} bytes, but its header alone has {_HEADER.size}")
    _, version, number, rows, columns = _HEADER.unpack(data[: _HEADER.size].tobytes())
    if version != 1:
        raise FormatError(f"a block matrix has format version {version}, but this program reads version 1")
    kind = _NAMES.get(number)
    if kind is None or rows < 1 or columns < 1:
        raise FormatError(f"a block matrix cannot have shape {rows} x {columns} and type {number}")
    if byte_length(kind, (rows, columns)) != data.size - _HEADER.size:
        raise FormatError(
            f"a block matrix has {data.size - _HEADER.size} bytes of blocks; expected "
            f"{byte_length(kind, (rows, columns))} for {kind} of {rows} x {columns}"
        )
    return Tensor(name, kind, (rows, columns), data[_HEADER.size :])
