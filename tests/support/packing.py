"""Quantised matrices as other programs store them, written from the descriptions of their files.

Each function draws a matrix and returns its parts, by the ends of their names, and its exact values. Scales have few
bits, so that nothing of a matrix needs rounding unless a function says so.
"""

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

Part = tuple[str, tuple[int, ...], bytes]
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


class Packed(NamedTuple):
    parts: dict[str, Part]
    values: np.ndarray
    """float64 (outputs, inputs)."""


def words(numbers: Iterable[int], bits: int) -> bytes:
    """Numbers one after the other in little-endian words, the first in the lowest bits."""
    numbers = [int(n) for n in numbers]
    whole = sum(number << bits * i for i, number in enumerate(numbers))
    return whole.to_bytes(-(-len(numbers) * bits // 32) * 4, "little")


def rows_of_words(matrix: np.ndarray, bits: int) -> np.ndarray:
    """Each row as words, uint32."""
    return np.array([np.frombuffer(words(row, bits), "<u4") for row in matrix])


def part(kind: str, array: np.ndarray) -> Part:
    return kind, array.shape, np.ascontiguousarray(array).tobytes()


def scales(draw: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of 8 bits, the largest less than four times the least: exact in float16 and as integers of a row."""
    return draw.integers(64, 256, shape) * 2.0**-13


def gptq(
    draw: np.random.Generator, rows: int, columns: int, bits: int = 4, group: int = 32, stored: int = 1,
    order: bool = False, symmetric: bool = False,
) -> Packed:  # fmt: skip
    """`stored` is taken from zeros before they are stored; with `order` groups are given to inputs at random."""
    count = -(-columns // group)
    groups = np.arange(columns) // group
    if order:
        groups = draw.permutation(groups)
    codes = draw.integers(0, 1 << bits, (rows, columns))
    zeros = draw.integers(1, 1 << bits, (count, rows)) if not symmetric else np.full((count, rows), 1 << bits - 1)
    scale = scales(draw, (count, rows))
    parts = {
        ".qweight": part("I32", rows_of_words(codes, bits).T),
        ".qzeros": part("I32", rows_of_words(zeros - stored, bits)),
        ".scales": part("F16", scale.astype("<f2")),
        ".g_idx": part("I32", groups.astype("<i4")),
    }
    return Packed(parts, (codes - zeros.T[:, groups]) * scale.T[:, groups])


def awq(draw: np.random.Generator, rows: int, columns: int, group: int = 32) -> Packed:
    codes = draw.integers(0, 16, (columns, rows))
    zeros = draw.integers(0, 16, (columns // group, rows))
    scale = scales(draw, (columns // group, rows))

    def shuffled(matrix: np.ndarray) -> np.ndarray:
        eights = matrix.reshape(len(matrix), -1, 8)[..., [0, 2, 4, 6, 1, 3, 5, 7]]
        return rows_of_words(eights.reshape(len(matrix), -1), 4)

    parts = {
        ".qweight": part("I32", shuffled(codes)),
        ".qzeros": part("I32", shuffled(zeros)),
        ".scales": part("F16", scale.astype("<f2")),
    }
    groups = np.arange(columns) // group
    return Packed(parts, ((codes - zeros[groups]) * scale[groups]).T)


def packed_integers(
    draw: np.random.Generator, rows: int, columns: int, bits: int = 4, group: int = 32, zeros: bool = False,
    order: bool = False,
) -> Packed:  # fmt: skip
    """compressed-tensors, pack-quantized: signed codes and zeros, stored with the sign's bit turned."""
    middle, count = 1 << bits - 1, columns // group
    groups = np.arange(columns) // group
    if order:
        groups = draw.permutation(groups)
    codes = draw.integers(-middle, middle, (rows, columns))
    zero = draw.integers(-middle, middle, (rows, count)) if zeros else np.zeros((rows, count), int)
    scale = scales(draw, (rows, count))
    parts = {
        ".weight_packed": part("I32", rows_of_words(codes + middle, bits)),
        ".weight_scale": part("BF16", (scale.astype("<f4").view("<u4") >> 16).astype("<u2")),
        ".weight_shape": part("I64", np.array([rows, columns], "<i8")),
    }
    if zeros:
        parts[".weight_zero_point"] = part("I32", rows_of_words((zero + middle).T, bits).T)
    if order:
        parts[".weight_g_idx"] = part("I32", groups.astype("<i4"))
    return Packed(parts, (codes - zero[:, groups]) * scale[:, groups])


def plain_integers(draw: np.random.Generator, rows: int, columns: int, zeros: bool = False) -> Packed:
    """compressed-tensors, int-quantized: a scale and perhaps a zero for each output."""
    codes = draw.integers(-128, 128, (rows, columns))
    zero = draw.integers(-128, 128, (rows, 1)) if zeros else np.zeros((rows, 1), int)
    scale = scales(draw, (rows, 1)) / 16
    parts = {".weight": part("I8", codes.astype("i1")), ".weight_scale": part("F32", scale.astype("<f4"))}
    if zeros:
        parts[".weight_zero_point"] = part("I8", zero.astype("i1"))
    return Packed(parts, (codes - zero) * scale)


def e4m3(code: int) -> float:
    """The value of a code of E4M3."""
    sign, exponent, fraction = (-1.0 if code & 128 else 1.0), code >> 3 & 15, code & 7
    return sign * (fraction / 8 * 2.0**-6 if exponent == 0 else (1 + fraction / 8) * 2.0 ** (exponent - 7))


def float8(
    draw: np.random.Generator, rows: int, columns: int, end: str, shape: tuple[int, ...], block: int = 0
) -> Packed:
    """Weights of at most 15 with scales of some shape; products with scales of many bits are rounded to float32."""
    codes = draw.integers(0, 0x58, (rows, columns)) | draw.integers(0, 2, (rows, columns)) << 7
    scale = draw.uniform(0.01, 0.02, shape).astype("<f4")
    values = np.vectorize(e4m3)(codes).astype(np.float32)
    spread = np.kron(scale, np.ones((block, block), np.float32))[:rows, :columns] if block else scale.reshape(-1, 1)
    parts = {".weight": part("F8_E4M3", codes.astype("u1")), end: part("F32", scale)}
    return Packed(parts, (values * spread).astype(np.float64))


def nibbles(codes: np.ndarray, low_first: bool = True) -> np.ndarray:
    """Two codes of a row in a byte."""
    first, second = (0, 4) if low_first else (4, 0)
    return (codes[..., ::2] << first | codes[..., 1::2] << second).astype("u1")


def nvfp4(draw: np.random.Generator, rows: int, columns: int, packed: str, whole: str, divides: bool = False) -> Packed:
    """Scales of blocks between 1 and 8; that of the matrix is a power of two."""
    codes = draw.integers(0, 16, (rows, columns))
    block = draw.integers(0x38, 0x50, (rows, columns // 16))
    scale = np.repeat(np.vectorize(e4m3)(block), 16, axis=1) / 256
    parts = {
        packed: part("U8", nibbles(codes)),
        ".weight_scale": part("F8_E4M3", block.astype("u1")),
        whole: part("F32", np.array([256.0 if divides else 1 / 256], "<f4")),
    }
    return Packed(parts, E2M1[codes] * scale)


def mxfp4(draw: np.random.Generator, shape: tuple[int, ...], blocks: str, scale: str, flat: bool = False) -> Packed:
    """Of any number of axes, the last the inputs; `flat` is the layout of compressed-tensors."""
    codes = draw.integers(0, 16, shape)
    exponent = draw.integers(118, 125, (*shape[:-1], shape[-1] // 32))
    data = nibbles(codes)
    parts = {
        blocks: part("U8", data if flat else data.reshape(*exponent.shape, 16)),
        scale: part("U8", exponent.astype("u1")),
    }
    return Packed(parts, E2M1[codes] * np.repeat(2.0 ** (exponent - 127), 32, axis=-1))


NF4 = np.array(
    [-1.0, -0.6961928, -0.52507305, -0.3949175, -0.28444138, -0.18477343, -0.091050036, 0.0, 0.0795803, 0.1609302,
     0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1.0], np.float32
)  # fmt: skip
FP4 = np.array([0, 0.0625, 8, 12, 4, 6, 2, 3, 0, -0.0625, -8, -12, -4, -6, -2, -3], np.float32) / np.float32(12)


def bitsandbytes(
    draw: np.random.Generator, rows: int, columns: int, kind: str = "nf4", double: bool = False, block: int = 64
) -> Packed:
    """Values are float32, as that library computes them before it rounds to the model's type."""
    codes = draw.integers(0, 16, rows * columns)
    count = -(-rows * columns // block)
    state: dict[str, Any] = {"quant_type": kind, "blocksize": block, "dtype": "bfloat16", "shape": [rows, columns]}
    table = {"nf4": NF4, "fp4": FP4}[kind]
    parts = {
        ".weight": part("U8", nibbles(codes, low_first=False).reshape(-1, 1)),
        ".weight.quant_map": part("F32", table),
    }
    if double:
        small = draw.integers(0, 256, count)
        nested_table = np.linspace(-1, 1, 256).astype("<f4")
        nested = draw.uniform(0.01, 0.03, -(-count // 256)).astype("<f4")
        absmax = nested_table[small] * np.repeat(nested, 256)[:count] + np.float32(0.08)
        parts |= {
            ".weight.absmax": part("U8", small.astype("u1")),
            ".weight.nested_absmax": part("F32", nested),
            ".weight.nested_quant_map": part("F32", nested_table),
        }
        state |= {"nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": float(np.float32(0.08))}
    else:
        absmax = draw.uniform(0.05, 0.15, count).astype("<f4")
        parts[".weight.absmax"] = part("F32", absmax)
    parts[".weight.quant_state.bitsandbytes__" + kind] = part("U8", np.frombuffer(json.dumps(state).encode(), "u1"))
    values = table[codes] * np.repeat(absmax, block)[: codes.size]
    return Packed(parts, values.astype(np.float64).reshape(rows, columns))


def ternary(draw: np.random.Generator, rows: int, columns: int, divides: bool = False) -> Packed:
    """BitNet's: a quarter of the rows in each two bits of a byte."""
    values = draw.integers(-1, 2, (rows, columns))
    quarters = (values + 1).astype("u1").reshape(4, rows // 4, columns)
    scale = scales(draw, (1,)).astype("<f4") if not divides else np.float32([8.0])
    parts = {
        ".weight": part("U8", sum(quarter << 2 * i for i, quarter in enumerate(quarters))),
        ".weight_scale": part("F32", scale),
    }
    return Packed(parts, values * scale.astype(np.float64) ** (-1 if divides else 1))


def int8_outputs(draw: np.random.Generator, rows: int, columns: int) -> Packed:
    """LLM.int8(): codes of each output are its values times 127 / SCB."""
    codes = draw.integers(-127, 128, (rows, columns))
    scb = (127 * scales(draw, (rows,)) / 16).astype("<f4")
    parts = {
        ".weight": part("I8", codes.astype("i1")),
        ".SCB": part("F32", scb),
        ".weight_format": part("U8", np.zeros((), "u1")),
    }
    return Packed(parts, codes * (scb.astype(np.float64) / 127)[:, None])
