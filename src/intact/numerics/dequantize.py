"""The values of a GGUF block as float32, as ggml's reference computes them: the weights of the ``fp32`` profile.

Each function takes blocks, uint8 (n, bytes), and returns float32 (n, elements). A product of a scale and a code is one
rounded multiplication, a minimum one rounded addition or subtraction; ``native/formats/fp32_dequantize.inl`` does the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from intact.numerics.fp32 import Floats

Bytes = npt.NDArray[np.uint8]
Codes = npt.NDArray[np.uint8] | npt.NDArray[np.int8] | npt.NDArray[np.int16]

IQ4_VALUES = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.int8)
FP4_DOUBLED = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.int8)


def _half(b: Bytes) -> Floats:
    return np.ascontiguousarray(b).view(np.float16).astype(np.float32)


def _float(codes: Codes) -> Floats:
    return codes.astype(np.float32)


def _fields(b: Bytes, group: int, bits: int, count: int) -> Bytes:
    """Bit fields of groups of bytes: all of a group's lowest fields come first, then its next ones."""
    shifts = (np.arange(count, dtype=np.uint8) * np.uint8(bits))[None, None, :, None]
    fields = (b.reshape(b.shape[0], -1, 1, group) >> shifts) & np.uint8((1 << bits) - 1)
    return fields.reshape(b.shape[0], -1)


def _spread(scale: Floats, values: Floats) -> Floats:
    """Multiply each sub-block of values by its scale: (n, s) and (n, elements)."""
    blocks = values.reshape(*scale.shape, -1)
    return (scale[..., None] * blocks).reshape(values.shape)


def _f32(b: Bytes) -> Floats:
    return np.ascontiguousarray(b).view(np.float32)


def _f16(b: Bytes) -> Floats:
    return _half(b)


def _bf16(b: Bytes) -> Floats:
    return (np.ascontiguousarray(b).view(np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32)


def _q4_0(b: Bytes) -> Floats:
    return _half(b[:, :2]) * (_float(_fields(b[:, 2:], 16, 4, 2)) - np.float32(8))


def _q4_1(b: Bytes) -> Floats:
    return _half(b[:, :2]) * _float(_fields(b[:, 4:], 16, 4, 2)) + _half(b[:, 2:4])


def _five_bits(high: Bytes, low: Bytes) -> Floats:
    return _float(_fields(low, 16, 4, 2) | (np.unpackbits(high, axis=1, bitorder="little") << np.uint8(4)))


def _q5_0(b: Bytes) -> Floats:
    return _half(b[:, :2]) * (_five_bits(b[:, 2:6], b[:, 6:]) - np.float32(16))


def _q5_1(b: Bytes) -> Floats:
    return _half(b[:, :2]) * _five_bits(b[:, 4:8], b[:, 8:]) + _half(b[:, 2:4])


def _q8_0(b: Bytes) -> Floats:
    return _half(b[:, :2]) * _float(b[:, 2:].view(np.int8))


def _q2_k(b: Bytes) -> Floats:
    scales, codes = b[:, :16], _float(_fields(b[:, 16:80], 32, 2, 4))
    scale = _half(b[:, 80:82]) * _float(scales & np.uint8(15))
    minimum = _half(b[:, 82:84]) * _float(scales >> np.uint8(4))
    return _spread(scale, codes) - np.repeat(minimum, 16, axis=1)


def _q3_k(b: Bytes) -> Floats:
    high, low, packed = b[:, :32], b[:, 32:96], b[:, 96:108]
    codes = _fields(low, 32, 2, 4) | (_fields(high, 32, 1, 8) << np.uint8(2))
    scales = _fields(packed[:, :8], 8, 4, 2) | (_fields(packed[:, 8:], 4, 2, 4) << np.uint8(4))
    return _spread(_half(b[:, 108:]) * (_float(scales) - np.float32(32)), _float(codes) - np.float32(4))


def _k_scales(packed: Bytes) -> tuple[Floats, Floats]:
    """Unpack the eight 6-bit scales and minima of a Q4_K or Q5_K block: four plain, four split over two places."""
    low, high, rest = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    six, four, top = np.uint8(63), np.uint8(15), np.uint8(48)
    scale = np.concatenate([low & six, (rest & four) | ((low >> np.uint8(2)) & top)], axis=1)
    minimum = np.concatenate([high & six, (rest >> np.uint8(4)) | ((high >> np.uint8(2)) & top)], axis=1)
    return _float(scale), _float(minimum)


def _q45_k(b: Bytes, codes: Floats) -> Floats:
    scale, minimum = _k_scales(b[:, 4:16])
    return _spread(_half(b[:, :2]) * scale, codes) - np.repeat(_half(b[:, 2:4]) * minimum, 32, axis=1)


def _q4_k(b: Bytes) -> Floats:
    return _q45_k(b, _float(_fields(b[:, 16:], 32, 4, 2)))


def _q5_k(b: Bytes) -> Floats:
    return _q45_k(b, _float(_fields(b[:, 48:], 32, 4, 2) | (_fields(b[:, 16:48], 32, 1, 8) << np.uint8(4))))


def _q6_k(b: Bytes) -> Floats:
    codes = _fields(b[:, :128], 64, 4, 2) | (_fields(b[:, 128:192], 32, 2, 4) << np.uint8(4))
    return _spread(_half(b[:, 208:]) * _float(b[:, 192:208].view(np.int8)), _float(codes) - np.float32(32))


def _iq4_nl(b: Bytes) -> Floats:
    return _half(b[:, :2]) * _float(IQ4_VALUES[_fields(b[:, 2:], 16, 4, 2)])


def _iq4_xs(b: Bytes) -> Floats:
    high = np.ascontiguousarray(b[:, 2:4]).view(np.uint16) >> (np.arange(8, dtype=np.uint16) * np.uint16(2))[None, :]
    scales = _fields(b[:, 4:8], 1, 4, 2) | ((high & np.uint16(3)).astype(np.uint8) << np.uint8(4))
    scale = _half(b[:, :2]) * (_float(scales) - np.float32(32))
    return _spread(scale, _float(IQ4_VALUES[_fields(b[:, 8:], 16, 4, 2)]))


def _trits(b: Bytes, group: int, count: int) -> Floats:
    """Base-3 digits of fixed-point bytes, most significant digit first, groups ordered as in :func:`_fields`."""
    powers = np.array([1, 3, 9, 27, 81], np.uint8)[None, None, :count, None]
    digits = (b.reshape(b.shape[0], -1, 1, group) * powers).astype(np.uint16) * np.uint16(3) >> np.uint16(8)
    return _float(digits.astype(np.int8).reshape(b.shape[0], -1)) - np.float32(1)


def _tq1_0(b: Bytes) -> Floats:
    codes: Floats = np.concatenate(
        [_trits(b[:, :32], 32, 5), _trits(b[:, 32:48], 16, 5), _trits(b[:, 48:52], 4, 4)], axis=1
    )
    return _half(b[:, 52:]) * codes


def _tq2_0(b: Bytes) -> Floats:
    return _half(b[:, 64:]) * (_float(_fields(b[:, :64], 32, 2, 4)) - np.float32(1))


def _mxfp4(b: Bytes) -> Floats:
    exponent = b[:, :1].astype(np.uint32)
    subnormal = np.uint32(0x00200000) << np.minimum(exponent, np.uint32(1))
    normal = (np.maximum(exponent, np.uint32(1)) - np.uint32(1)) << np.uint32(23)
    scale: Floats = np.where(exponent < 2, subnormal, normal).astype(np.uint32).view(np.float32)
    return scale * _float(FP4_DOUBLED[_fields(b[:, 1:], 16, 4, 2)])


class BlockFormat(NamedTuple):
    """A storage format: ``elements`` values in ``size`` bytes, and the function from bytes to values."""

    elements: int
    size: int
    decode: Callable[[Bytes], Floats]


FORMATS: dict[str, BlockFormat] = {
    "F32": BlockFormat(1, 4, _f32),
    "F16": BlockFormat(1, 2, _f16),
    "BF16": BlockFormat(1, 2, _bf16),
    "Q4_0": BlockFormat(32, 18, _q4_0),
    "Q4_1": BlockFormat(32, 20, _q4_1),
    "Q5_0": BlockFormat(32, 22, _q5_0),
    "Q5_1": BlockFormat(32, 24, _q5_1),
    "Q8_0": BlockFormat(32, 34, _q8_0),
    "Q2_K": BlockFormat(256, 84, _q2_k),
    "Q3_K": BlockFormat(256, 110, _q3_k),
    "Q4_K": BlockFormat(256, 144, _q4_k),
    "Q5_K": BlockFormat(256, 176, _q5_k),
    "Q6_K": BlockFormat(256, 210, _q6_k),
    "IQ4_NL": BlockFormat(32, 18, _iq4_nl),
    "IQ4_XS": BlockFormat(256, 136, _iq4_xs),
    "TQ1_0": BlockFormat(256, 54, _tq1_0),
    "TQ2_0": BlockFormat(256, 66, _tq2_0),
    "MXFP4": BlockFormat(32, 17, _mxfp4),
}


def dequantize(kind: str, data: Bytes, shape: tuple[int, ...]) -> Floats:
    """Values of a stored tensor.

    Parameters
    ----------
    kind : a name of :data:`FORMATS`
    data : uint8 (bytes,), the tensor as stored
    shape : NumPy order, the last axis contiguous in storage and a multiple of the format's block

    Returns
    -------
    float32 of this shape

    Raises
    ------
    ValueError
        Unknown kind, or a shape that the data does not fill.
    """
    if kind not in FORMATS:
        raise ValueError(f"unknown storage format {kind!r}; known are {', '.join(FORMATS)}")
    elements, size, decode = FORMATS[kind]
    count = int(np.prod(shape, dtype=np.int64))
    if shape and shape[-1] % elements:
        raise ValueError(f"{kind} needs rows of a multiple of {elements} values, got {shape[-1]}")
    if data.size * elements != count * size:
        raise ValueError(f"{kind} of shape {shape} needs {count // elements * size} bytes, got {data.size}")
    return decode(np.ascontiguousarray(data).reshape(-1, size)).reshape(shape)
