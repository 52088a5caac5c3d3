"""Integer weights: GGUF block formats and float matrices as codes and int16 scales (docs/numerics.md, section 1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from intact.errors import ModelError, ParameterError
from intact.numerics.fixed import Int, rshift

Bytes = NDArray[np.uint8]

SCALE_MAX = 32767
FLOAT_BITS = {8: 30, 4: 18}
IQ4_VALUES = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
MXFP4_DOUBLED = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)
# Candidate scales of 4-bit floats: the block's extreme lies at -c/8 steps, then at +c/8 steps.
CANDIDATES = (*(-c for c in range(57, 78, 2)), *range(56, 65, 2))


class BlockWeight(NamedTuple):
    """A matrix of N outputs and K inputs as integers.

    Element (n, k) of block b = k // block is ``(T[code] - zero) * scale[n, b] * 2^scale_exp[n]
    + minimum[n, b] * 2^minimum_exp[n]``, with T the table or, without one, the identity.
    """

    codes: Bytes
    """(N, Kpad), Kpad the next multiple of 32 of K; padding has codes equal to `zero`."""
    bits: int
    block: int
    """Inputs that share a scale: 32 or 16."""
    zero: int
    shift: int
    """r: a block's sum of products is rounded right by it."""
    table: NDArray[np.int16] | None
    scale: NDArray[np.int16]
    """(N, Kpad // block)."""
    scale_exp: NDArray[np.int32]
    minimum: NDArray[np.int16] | None
    minimum_exp: NDArray[np.int32] | None
    columns: int
    """K before padding."""


class Decoded(NamedTuple):
    """Codes, scales D and re-centred minima M: exact integers, D and M in units of 2^-24.

    For MXFP4 `scale` is the block's exponent byte x instead, for a scale of 2^(x - 128).
    """

    codes: Bytes
    scale: Int
    minimum: Int | None = None


class BlockKind(NamedTuple):
    """A GGUF block format: its layout in bytes, the integer weight that it becomes, and how it is decoded."""

    values: int
    """Values of one source block."""
    size: int
    """Bytes of one source block."""
    bits: int
    block: int
    zero: int
    shift: int
    halves: tuple[int, ...]
    """Where the block's float16 numbers lie, in bytes; passed to `decode` as integers in units of 2^-24."""
    decode: Callable[[Bytes, list[Int]], Decoded]
    table: tuple[int, ...] | None = None


def decode(kind: str, data: Bytes, shape: tuple[int, int]) -> Decoded:
    """Decode a GGUF tensor of a block format to exact integers.

    Parameters
    ----------
    kind : name of the format, a key of `BLOCK_KINDS`
    data : the tensor's bytes, uint8
    shape : (N, K)

    Returns
    -------
    Decoded
        Row-major: codes (N, K), scales and minima (N, blocks of the integer weight).

    Raises
    ------
    ModelError
        A scale is NaN or infinite; the message names row and column.
    ParameterError
        The kind is unknown, or `data` or K does not fit it.
    """
    if kind not in BLOCK_KINDS:
        raise ParameterError(f"unknown block format {kind!r}: it should be one of {', '.join(BLOCK_KINDS)}")
    spec = BLOCK_KINDS[kind]
    rows, columns = shape
    if columns % spec.values:
        raise ParameterError(f"{columns} columns of {kind}: a row should be a multiple of {spec.values}")
    blocks = columns // spec.values
    if data.size != rows * blocks * spec.size:
        raise ParameterError(
            f"{data.size} bytes for a {kind} matrix of shape {shape}: it should have {rows * blocks * spec.size}"
        )
    source = np.ascontiguousarray(data, np.uint8).reshape(rows, blocks, spec.size)
    bits = [_half_bits(source, at) for at in spec.halves]
    infinite = _exponent(source) == 255 if kind == "MXFP4" else np.zeros((rows, blocks), bool)
    for half in bits:
        infinite |= half & 0x7C00 == 0x7C00
    _check_finite(kind, infinite, spec.values)
    codes, scale, minimum = spec.decode(source, [_half_value(half) for half in bits])
    minimum = None if minimum is None else minimum.reshape(rows, -1)
    return Decoded(codes.reshape(rows, columns), scale.reshape(rows, -1), minimum)


def from_blocks(kind: str, data: Bytes, shape: tuple[int, int]) -> BlockWeight:
    """Re-express a GGUF tensor of a block format; parameters and errors are those of `decode`."""
    exact = decode(kind, data, shape)
    spec = BLOCK_KINDS[kind]
    scale, scale_exp = (_powers_of_two if kind == "MXFP4" else _to_int16)(exact.scale)
    minimum, minimum_exp = (None, None) if exact.minimum is None else _to_int16(exact.minimum)
    table = None if spec.table is None else np.array(spec.table, np.int16)
    return BlockWeight(
        exact.codes, spec.bits, spec.block, spec.zero, spec.shift, table,
        scale, scale_exp, minimum, minimum_exp, shape[1],
    )  # fmt: skip


def from_floats(x: NDArray[np.float32], bits: int = 8) -> BlockWeight:
    """Quantise a float matrix to int8 codes, or to 4 bits with the scale of least squared error.

    Parameters
    ----------
    x : (N, K) float32
    bits : 8 or 4

    Raises
    ------
    ModelError
        A value is NaN or infinite; the message names row and column.
    ParameterError
        `bits` is neither 8 nor 4.
    """
    if bits not in (4, 8):
        raise ParameterError(f"{bits} bits for a float matrix: it should be 8 or 4")
    _check_finite("float", ~np.isfinite(x), 1)
    rows, columns = x.shape
    padded = np.zeros((rows, -(-columns // 32) * 32), np.float64)
    padded[:, :columns] = x
    exponent = np.frexp(np.abs(padded).max(axis=1, initial=0))[1].astype(np.int64)
    fixed = np.floor(np.ldexp(padded, FLOAT_BITS[bits] - exponent[:, None]) + 0.5).astype(np.int64)
    codes, scale, t = (_int8 if bits == 8 else _int4)(fixed.reshape(rows, -1, 32))
    return BlockWeight(
        codes.reshape(rows, -1).astype(np.uint8), bits, 32, 128 if bits == 8 else 8, 4 if bits == 8 else 0, None,
        scale.astype(np.int16), (t + exponent - FLOAT_BITS[bits]).astype(np.int32), None, None, columns,
    )  # fmt: skip


def values(weight: BlockWeight) -> NDArray[np.float64]:
    """Return the exact values, (N, K) float64."""
    integers = centred(weight).reshape(*weight.scale.shape, weight.block)
    result = np.ldexp((integers * weight.scale[..., None]).astype(np.float64), weight.scale_exp[:, None, None])
    if weight.minimum is not None and weight.minimum_exp is not None:
        result += np.ldexp(weight.minimum.astype(np.float64), weight.minimum_exp[:, None])[..., None]
    return result.reshape(weight.codes.shape)[:, : weight.columns]


def centred(weight: BlockWeight) -> Int:
    """Return ``T[code] - zero``, (N, Kpad) int64."""
    codes = weight.codes if weight.table is None else weight.table[weight.codes]
    return codes.astype(np.int64) - weight.zero


def floats(kind: str, data: Bytes, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Decode the bytes of an F32, F16 or BF16 tensor to float32, exactly."""
    if kind == "BF16":
        return (data.view("<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
    return data.view({"F32": "<f4", "F16": "<f2"}[kind]).astype(np.float32).reshape(shape)


def _check_finite(kind: str, infinite: NDArray[np.bool_], width: int) -> None:
    found = np.flatnonzero(infinite)
    if found.size:
        row, block = divmod(int(found[0]), infinite.shape[1])
        _not_finite(kind, row, block * width)


def _not_finite(kind: str, row: int, column: int) -> NoReturn:
    what = "weight" if kind == "float" else f"{kind} scale"
    raise ModelError(f"the {what} at row {row}, column {column} is NaN or infinite: every weight should be finite")


def _half_bits(source: Bytes, at: int) -> Int:
    return source[..., at].astype(np.int64) | source[..., at + 1].astype(np.int64) << 8


def _half_value(bits: Int) -> Int:
    """Return a finite float16 as an integer in units of 2^-24."""
    exponent, fraction = bits >> 10 & 31, bits & 0x3FF
    magnitude = np.where(exponent == 0, fraction, (fraction | 0x400) << np.maximum(exponent - 1, 0))
    return np.where(bits & 0x8000, -magnitude, magnitude)


def _to_int16(exact: Int) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
    """Round rows of integers in units of 2^-24 to int16 under the least exponent that holds them."""
    largest = np.abs(exact).max(axis=1, initial=0)
    t = np.zeros(largest.shape, np.int64)
    for s in range(40):
        t += rshift(largest, s) > SCALE_MAX
    return rshift(exact, t[:, None]).astype(np.int16), (t - 24).astype(np.int32)


def _powers_of_two(exponent: Int) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
    """Return the scales 2^(exponent - 128) of MXFP4 as 2^14 and below under the row's largest."""
    largest = exponent.max(axis=1, initial=0)
    scale = rshift(np.full(exponent.shape, 1 << 14, np.int64), largest[:, None] - exponent)
    return scale.astype(np.int16), (largest - 128 - 14).astype(np.int32)


def _int8(x: Int) -> tuple[Int, Int, Int]:
    """Quantise (N, blocks, 32) integers, at most 2^30 in size: codes about 128, scales, and each row's exponent t."""
    largest = np.abs(x).max(axis=2, initial=0)
    t = np.zeros(len(x), np.int64)
    for s in range(16):
        t += _ceil(largest.max(axis=1, initial=0), 127 << s) > SCALE_MAX
    scale = np.maximum(1, _ceil(largest, np.int64(127) << t[:, None]))
    step = (scale << t[:, None])[..., None]
    return 128 + (2 * x + step) // (2 * step), scale, t


def _int4(x: Int) -> tuple[Int, Int, Int]:
    """Quantise like `_int8`, from 2^18, to codes about 8: the first candidate scale of least squared error."""
    largest = np.abs(x).max(axis=2, initial=0)
    at = np.abs(x).argmax(axis=2)[..., None] if x.size else np.zeros((*x.shape[:2], 1), np.int64)
    sign = np.where(np.take_along_axis(x, at, axis=2)[..., 0] < 0, -1, 1)
    t = np.zeros(len(x), np.int64)
    for s in range(20):
        t += _eighths(largest.max(axis=1, initial=0), 56, s) > SCALE_MAX
    best = np.full(largest.shape, np.iinfo(np.int64).max)
    codes, scale = np.zeros_like(x), np.zeros_like(largest)
    for c in CANDIDATES:
        candidate = sign * np.sign(c) * np.maximum(1, _eighths(largest, abs(c), t[:, None]))
        step = (candidate << t[:, None])[..., None]
        trial = np.clip((2 * x + step) // (2 * step), -8, 7)
        error = ((x - trial * step) ** 2).sum(axis=2)
        better = error < best
        best = np.where(better, error, best)
        scale = np.where(better, candidate, scale)
        codes = np.where(better[..., None], trial + 8, codes)
    return codes, scale, t


def _ceil(a: Int, b: int | Int) -> Int:
    return (a + (b - 1)) // b


def _eighths(largest: Int, c: int, t: Int | int) -> Int:
    """Return ``largest / (c / 8 * 2^t)``, rounded half up."""
    divisor = np.int64(c) << np.asarray(t, np.int64)
    return np.asarray((16 * largest + divisor) // (2 * divisor))


def _nibbles(packed: Bytes) -> Bytes:
    """Return low nibbles, then high nibbles, along the last axis."""
    return np.concatenate([packed & 15, packed >> 4], axis=-1)


def _bit_fields(packed: Bytes, width: int, run: int) -> Bytes:
    """Return fields of `width` bits: of each `run` bytes first all lowest fields, then the next, and so on."""
    lanes = packed.reshape(*packed.shape[:-1], -1, 1, run)
    shifts = np.arange(0, 8, width, dtype=np.uint8)[:, None]
    fields = lanes >> shifts & np.uint8((1 << width) - 1)
    return fields.astype(np.uint8).reshape(*packed.shape[:-1], -1)


def _fifth_bits(source: Bytes, at: int) -> Bytes:
    return np.unpackbits(source[..., at : at + 4], axis=-1, bitorder="little") * np.uint8(16)


def _q4_0(source: Bytes, halves: list[Int]) -> Decoded:
    return Decoded(_nibbles(source[..., 2:]), halves[0][..., None])


def _q4_1(source: Bytes, halves: list[Int]) -> Decoded:
    d, m = (half[..., None] for half in halves)
    return Decoded(_nibbles(source[..., 4:]), d, 8 * d + m)


def _q5_0(source: Bytes, halves: list[Int]) -> Decoded:
    return Decoded(_nibbles(source[..., 6:]) | _fifth_bits(source, 2), halves[0][..., None])


def _q5_1(source: Bytes, halves: list[Int]) -> Decoded:
    d, m = (half[..., None] for half in halves)
    return Decoded(_nibbles(source[..., 8:]) | _fifth_bits(source, 4), d, 16 * d + m)


def _q8_0(source: Bytes, halves: list[Int]) -> Decoded:
    return Decoded(source[..., 2:] ^ np.uint8(128), halves[0][..., None])


def _q2_k(source: Bytes, halves: list[Int]) -> Decoded:
    d, dmin = (half[..., None] for half in halves)
    scales = source[..., :16].astype(np.int64)
    exact = d * (scales & 15)
    return Decoded(_bit_fields(source[..., 16:80], 2, 32), exact, 2 * exact - dmin * (scales >> 4))


def _q3_k(source: Bytes, halves: list[Int]) -> Decoded:
    low = _bit_fields(source[..., 32:96], 2, 32)
    high = _bit_fields(source[..., :32], 1, 32)
    scales = _bit_fields(source[..., 96:104], 4, 8) | _bit_fields(source[..., 104:108], 2, 4) * np.uint8(16)
    return Decoded(low | high * np.uint8(4), halves[0][..., None] * (scales.astype(np.int64) - 32))


def _scales_and_minima(source: Bytes) -> tuple[Int, Int]:
    """Return the eight 6-bit scales and eight 6-bit minima of bytes 4 to 15 of a Q4_K or Q5_K block."""
    low, middle, high = (source[..., at : at + 4].astype(np.int64) for at in (4, 8, 12))
    scales = np.concatenate([low & 63, high & 15 | low >> 2 & 48], axis=-1)
    minima = np.concatenate([middle & 63, high >> 4 | middle >> 2 & 48], axis=-1)
    return scales, minima


def _q4_k(source: Bytes, halves: list[Int]) -> Decoded:
    d, dmin = (half[..., None] for half in halves)
    scales, minima = _scales_and_minima(source)
    return Decoded(_bit_fields(source[..., 16:], 4, 32), d * scales, 8 * d * scales - dmin * minima)


def _q5_k(source: Bytes, halves: list[Int]) -> Decoded:
    d, dmin = (half[..., None] for half in halves)
    scales, minima = _scales_and_minima(source)
    codes = _bit_fields(source[..., 48:], 4, 32) | _bit_fields(source[..., 16:48], 1, 32) * np.uint8(16)
    return Decoded(codes, d * scales, 16 * d * scales - dmin * minima)


def _q6_k(source: Bytes, halves: list[Int]) -> Decoded:
    codes = _bit_fields(source[..., :128], 4, 64) | _bit_fields(source[..., 128:192], 2, 32) * np.uint8(16)
    return Decoded(codes, halves[0][..., None] * source[..., 192:208].view(np.int8).astype(np.int64))


def _iq4_xs(source: Bytes, halves: list[Int]) -> Decoded:
    low = _bit_fields(source[..., 4:8], 4, 1)
    high = _bit_fields(source[..., 2:4], 2, 1)
    scales = (low | high << 4).astype(np.int64) - 32
    packed = source[..., 8:].reshape(*source.shape[:-1], 8, 16)
    return Decoded(_nibbles(packed), halves[0][..., None] * scales)


def _exponent(source: Bytes) -> Int:
    return source[..., 0].astype(np.int64)


def _mxfp4(source: Bytes, halves: list[Int]) -> Decoded:
    return Decoded(_nibbles(source[..., 1:]), _exponent(source)[..., None])


def _tq1_0(source: Bytes, halves: list[Int]) -> Decoded:
    def trits(packed: Bytes, count: int) -> Bytes:
        powers = np.array([3**i for i in range(count)], np.uint8)[:, None]
        digits = (packed[..., None, :] * powers).astype(np.uint16) * 3 >> 8
        return digits.astype(np.uint8).reshape(*packed.shape[:-1], -1)

    codes = [trits(source[..., :32], 5), trits(source[..., 32:48], 5), trits(source[..., 48:52], 4)]
    return Decoded(np.concatenate(codes, axis=-1), _for_blocks(halves[0], 8))


def _tq2_0(source: Bytes, halves: list[Int]) -> Decoded:
    return Decoded(_bit_fields(source[..., :64], 2, 32), _for_blocks(halves[0], 8))


def _for_blocks(scale: Int, count: int) -> Int:
    return np.repeat(scale[..., None], count, axis=-1)


_IQ4_TABLE = tuple(value + 128 for value in IQ4_VALUES)
_MXFP4_TABLE = tuple(value + 12 for value in MXFP4_DOUBLED)

BLOCK_KINDS = {
    "Q4_0": BlockKind(32, 18, 4, 32, 8, 0, (0,), _q4_0),
    "Q4_1": BlockKind(32, 20, 4, 32, 8, 0, (0, 2), _q4_1),
    "Q5_0": BlockKind(32, 22, 5, 32, 16, 1, (0,), _q5_0),
    "Q5_1": BlockKind(32, 24, 5, 32, 16, 1, (0, 2), _q5_1),
    "Q8_0": BlockKind(32, 34, 8, 32, 128, 4, (0,), _q8_0),
    "Q2_K": BlockKind(256, 84, 2, 16, 2, 0, (80, 82), _q2_k),
    "Q3_K": BlockKind(256, 110, 3, 16, 4, 0, (108,), _q3_k),
    "Q4_K": BlockKind(256, 144, 4, 32, 8, 0, (0, 2), _q4_k),
    "Q5_K": BlockKind(256, 176, 5, 32, 16, 1, (0, 2), _q5_k),
    "Q6_K": BlockKind(256, 210, 6, 16, 32, 2, (208,), _q6_k),
    "IQ4_NL": BlockKind(32, 18, 4, 32, 128, 4, (0,), _q4_0, _IQ4_TABLE),
    "IQ4_XS": BlockKind(256, 136, 4, 32, 128, 4, (0,), _iq4_xs, _IQ4_TABLE),
    "MXFP4": BlockKind(32, 17, 4, 32, 12, 1, (), _mxfp4, _MXFP4_TABLE),
    "TQ1_0": BlockKind(256, 54, 2, 32, 1, 0, (52,), _tq1_0),
    "TQ2_0": BlockKind(256, 66, 2, 32, 1, 0, (64,), _tq2_0),
}
"""The block formats of GGUF by name."""
