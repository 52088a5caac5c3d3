"""Integer weights: block formats and float matrices as codes and int16 scales (docs/spec/numerics.md, section 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ModelError, ParameterError
from intact.numerics.fixed import Int, rshift
from intact.numerics.weight_formats import BLOCK_FORMATS, Bytes

SCALE_MAX = 32767
FLOAT_BITS = {8: 30, 4: 18}
# Candidate scales for quantising floats to 4 bits: they put the block's extreme at -c/8 steps, then at +c/8 steps.
CANDIDATES = (*(-c for c in range(57, 78, 2)), *range(56, 65, 2))


@dataclass(frozen=True, eq=False)
class InputIndex:
    """The inputs that a weight's columns multiply, for weights whose column k does not always multiply input k."""

    index: NDArray[np.int32]
    """Input of each column, (K,); -1 for a column that multiplies 0."""
    count: int
    """Number of the model's inputs."""


class BlockWeight(NamedTuple):
    """A matrix of N outputs and K inputs as integers.

    Element (n, k) of block b = k // block is ``(T[code] - zero) * scale[n, b] * 2^scale_exp[n]
    + minimum[n, b] * 2^minimum_exp[n]``, where T is the table or, without one, the identity.
    """

    codes: Bytes
    """Shape (N, Kpad), where Kpad is K rounded up to a multiple of 32; padding codes equal `zero`."""
    bits: int
    block: int
    """Number of inputs that share a scale: 32 or 16."""
    zero: int
    shift: int
    """r: the right shift that rounds a block's sum of products."""
    table: NDArray[np.int16] | None
    """One entry per code, at least 16, from 0 to 32767."""
    scale: NDArray[np.int16]
    """Shape (N, Kpad // block)."""
    scale_exp: NDArray[np.int32]
    minimum: NDArray[np.int16] | None
    minimum_exp: NDArray[np.int32] | None
    columns: int
    """K before padding."""
    inputs: InputIndex | None = None
    """Inputs of the columns if planes repeat them or outliers are separate; None if column k multiplies input k."""


class Decoded(NamedTuple):
    """Codes, scales D and re-centred minima M as exact integers: D in units of 2^-(24 + fraction), M in units of 2^-24.

    If scales are powers of two, `scale` is the exponent byte x instead, for a scale of 2^(x - 128).
    """

    codes: Bytes
    scale: Int
    minimum: Int | None = None


def decode(kind: str, data: Bytes, shape: tuple[int, int]) -> Decoded:
    """Decode a tensor of a block format to exact integers.

    Parameters
    ----------
    kind : name of the format, a key of `BLOCK_FORMATS`
    data : the tensor's bytes, uint8
    shape : (N, K)

    Returns
    -------
    Decoded
        Row-major: codes (N, K), scales and minima (N, blocks of the integer weight).

    Raises
    ------
    ModelError
        If a scale is NaN or infinite; the message gives its row and column.
    ParameterError
        If the kind is unknown, or `data` or K does not match it.
    """
    if kind not in BLOCK_FORMATS:
        raise ParameterError(f"unknown block format {kind!r}: it should be one of {', '.join(BLOCK_FORMATS)}")
    form = BLOCK_FORMATS[kind]
    rows, columns = shape
    if columns % form.values:
        raise ParameterError(f"{columns} columns of {kind}: a row should be a multiple of {form.values}")
    count = columns // form.values
    if data.size != rows * count * form.size:
        raise ParameterError(
            f"{data.size} bytes for a {kind} matrix of shape {shape}: it should have {rows * count * form.size}"
        )
    blocks = np.ascontiguousarray(data, np.uint8).reshape(rows, count, form.size)
    codes, scale, minimum = form.unpack(blocks)
    if scale is None:
        scale = np.ones((rows, count, form.values // form.block), np.int64)
    halves = [half.read(blocks).astype(np.int64) for half in form.halves]
    infinite = np.zeros((rows, count), bool) if halves else scale[..., 0] == 255
    for half in halves:
        infinite |= half & 0x7C00 == 0x7C00
    _check_finite(kind, infinite, form.values)
    d, *e = (_half_value(half)[..., None] for half in halves) if halves else (np.int64(1),)
    exact = d * scale
    recentred = None if minimum is None else (form.zero * exact - e[0] * minimum).reshape(rows, -1)
    return Decoded(codes.reshape(rows, columns), exact.reshape(rows, -1), recentred)


def from_blocks(kind: str, data: Bytes, shape: tuple[int, int]) -> BlockWeight:
    """Convert a tensor of a block format to an integer weight; parameters and errors are the same as for `decode`."""
    exact = decode(kind, data, shape)
    form = BLOCK_FORMATS[kind]
    scale, scale_exp = (_powers_of_two if form.scale_at is None else _to_int16)(exact.scale)
    minimum, minimum_exp = (None, None) if exact.minimum is None else _to_int16(exact.minimum)
    table = None if form.table is None else np.array(form.table, np.int16)
    scale_exp -= np.int32(form.fraction)
    return BlockWeight(
        exact.codes, form.bits, form.block, form.zero, form.shift, table,
        scale, scale_exp, minimum, minimum_exp, shape[1],
    )  # fmt: skip


def from_floats(x: NDArray[np.float32], bits: int = 8) -> BlockWeight:
    """Quantise a float matrix to int8 codes, or to 4-bit codes with the scale of least squared error.

    Parameters
    ----------
    x : (N, K) float32
    bits : 8 or 4

    Raises
    ------
    ModelError
        If a value is NaN or infinite; the message gives its row and column.
    ParameterError
        If `bits` is neither 8 nor 4.
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


def model_values(weight: BlockWeight) -> NDArray[np.float64]:
    """Return the matrix that multiplies the model's inputs, (N, inputs); columns of one input are added in order."""
    stored = values(weight)
    if weight.inputs is None:
        return stored
    index = weight.inputs.index
    result = np.zeros((len(stored), weight.inputs.count))
    left = np.flatnonzero(index >= 0)
    while left.size:
        _, first = np.unique(index[left], return_index=True)
        result[:, index[left[first]]] += stored[:, left[first]]
        left = np.delete(left, first)
    return result


def centred(weight: BlockWeight) -> Int:
    """Return ``T[code] - zero``, (N, Kpad) int64."""
    codes = weight.codes if weight.table is None else weight.table[weight.codes]
    return codes.astype(np.int64) - weight.zero


def _check_finite(kind: str, infinite: NDArray[np.bool_], width: int) -> None:
    found = np.flatnonzero(infinite)
    if found.size:
        row, block = divmod(int(found[0]), infinite.shape[1])
        _not_finite(kind, row, block * width)


def _not_finite(kind: str, row: int, column: int) -> NoReturn:
    what = "weight" if kind == "float" else f"{kind} scale"
    raise ModelError(f"the {what} at row {row}, column {column} is NaN or infinite: every weight should be finite")


def _half_value(bits: Int) -> Int:
    """Convert a finite float16, given by its bits, to an integer in units of 2^-24."""
    exponent, fraction = bits >> 10 & 31, bits & 0x3FF
    magnitude = np.where(exponent == 0, fraction, (fraction | 0x400) << np.maximum(exponent - 1, 0))
    return np.where(bits & 0x8000, -magnitude, magnitude)


def _to_int16(exact: Int) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
    """Round rows of integers in units of 2^-24 to int16 with the smallest exponent that fits them."""
    largest = np.abs(exact).max(axis=1, initial=0)
    t = np.zeros(largest.shape, np.int64)
    for s in range(40):
        t += rshift(largest, s) > SCALE_MAX
    return rshift(exact, t[:, None]).astype(np.int16), (t - 24).astype(np.int32)


def _powers_of_two(exponent: Int) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
    """Convert MXFP4's scales 2^(exponent - 128) to integers: 2^14 for the largest of each row, less for the others."""
    largest = exponent.max(axis=1, initial=0)
    scale = rshift(np.full(exponent.shape, 1 << 14, np.int64), largest[:, None] - exponent)
    return scale.astype(np.int16), (largest - 128 - 14).astype(np.int32)


def _int8(x: Int) -> tuple[Int, Int, Int]:
    """Quantise (N, blocks, 32) integers of up to 2^30: codes around 128, scales, and each row's exponent t."""
    largest = np.abs(x).max(axis=2, initial=0)
    t = np.zeros(len(x), np.int64)
    for s in range(16):
        t += _ceil(largest.max(axis=1, initial=0), 127 << s) > SCALE_MAX
    scale = np.maximum(1, _ceil(largest, np.int64(127) << t[:, None]))
    step = (scale << t[:, None])[..., None]
    return 128 + (2 * x + step) // (2 * step), scale, t


def _int4(x: Int) -> tuple[Int, Int, Int]:
    """Quantise like `_int8`, from 2^18, to codes around 8: use the first candidate scale of least squared error."""
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
