"""The values of a stored weight as float32, computed as in ggml's reference: the weights of the ``fp32`` profile.

Scale times code takes one rounded multiplication, and a minimum one rounded subtraction;
``native/formats/dequantize.inl`` does the same.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from intact.numerics.fp32 import Floats
from intact.numerics.integers import INTEGER, from_bytes
from intact.numerics.weight_formats import FORMATS, BlockFormat, Bytes
from intact.numerics.weights import values


def dequantize(kind: str, data: Bytes, shape: tuple[int, ...]) -> Floats:
    """Return the values of a stored tensor.

    Parameters
    ----------
    kind : str
        A name in :data:`intact.numerics.weight_formats.FORMATS`, or the kind of integer weights, whose exact values are
        rounded.
    data : uint8 (bytes,)
        The tensor as stored.
    shape : tuple of int
        In NumPy order; the last axis is contiguous in storage and a multiple of the format's block.

    Returns
    -------
    float32 of the given shape

    Raises
    ------
    ValueError
        If the kind is unknown, or the size of the data does not match the shape.
    """
    if kind == INTEGER:
        return values(from_bytes(data)).astype(np.float32).reshape(shape)
    if kind not in FORMATS:
        raise ValueError(f"unknown storage format {kind!r}; known are {', '.join(FORMATS)}")
    form = FORMATS[kind]
    count = int(np.prod(shape, dtype=np.int64))
    if shape and shape[-1] % form.values:
        raise ValueError(f"{kind} needs rows of a multiple of {form.values} values, got {shape[-1]}")
    if data.size * form.values != count * form.size:
        raise ValueError(f"{kind} of shape {shape} needs {count // form.values * form.size} bytes, got {data.size}")
    blocks = np.ascontiguousarray(data).reshape(-1, form.size)
    return (_values(form, blocks) if isinstance(form, BlockFormat) else form.decode(blocks)).reshape(shape)


def _values(form: BlockFormat, blocks: Bytes) -> Floats:
    """Return the values of blocks: uint8 (n, size) to float32 (n, sub-blocks, values per sub-block)."""
    codes, scale, minimum = form.unpack(blocks)
    codes = codes.reshape(len(blocks), -1, form.block)
    if not form.halves:
        d, scale = _power_of_two(scale), None
    else:
        d, *rest = (half.read(blocks)[:, None].view(np.float16).astype(np.float32) for half in form.halves)
    if scale is not None:
        d = d * (scale.astype(np.float32) * np.float32(2.0**-form.fraction))
    if minimum is None:
        table = np.arange(256) if form.table is None else np.array(form.table)
        return d[..., None] * (table[codes] - form.zero).astype(np.float32)
    e = rest[0] * minimum.astype(np.float32)
    return d[..., None] * codes.astype(np.float32) - e[..., None]


def _power_of_two(exponent: npt.NDArray[np.int64] | None) -> Floats:
    """Return 2^(x - 128) for exponent bytes x by assembling float32 bits; the two smallest are subnormal."""
    assert exponent is not None
    x = exponent.astype(np.uint32)
    subnormal = np.uint32(0x00200000) << np.minimum(x, np.uint32(1))
    normal = (np.maximum(x, np.uint32(1)) - np.uint32(1)) << np.uint32(23)
    return np.where(x < 2, subnormal, normal).astype(np.uint32).view(np.float32)
