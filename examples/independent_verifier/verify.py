"""A second verifier of receipts: NumPy alone, written from the documents, sharing no code with the package.

    python verify.py RECEIPT MODEL.gguf [OTHER.gguf ...]

Others are the further models of mixes.

Every section is headed by the document that it follows. Arrays are int64 unless said otherwise; T is the number of
tokens, N of a matrix's rows (outputs), K of its columns (inputs).
"""

from __future__ import annotations

import argparse
import base64
import codecs
import hashlib
import json
import math
import os
import re
import struct
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the products are small: threads would wait more than work

import numpy as np

Array = np.ndarray
LIMIT = 2**31 - 1


class CannotVerifyError(Exception):
    """The files cannot be judged: broken, or of a kind that this program does not implement."""


# ---------------------------------------------------------------------- numerics.md, notation


def rshift(x: Array, s: Any) -> Array:
    """x / 2^s, rounded half up; 0 from s = 63 on."""
    if isinstance(s, int) and s < 63:
        return (x + (1 << s >> 1)) >> s  # the half is 0 for s = 0
    half = np.where(s > 0, np.int64(1) << np.clip(s - 1, 0, 61), 0)
    return np.where(s < 63, (x + half) >> np.minimum(s, 62), 0)


def shift(x: Array, s: Any) -> Array:
    """The same, and for s < 0 to the left, of what is first clipped to 32 bits."""
    s = np.asarray(s, np.int64)
    left = np.clip(x, -LIMIT, LIMIT) << np.clip(-s, 0, 31)
    return np.where(s < 0, left, rshift(x, np.maximum(s, 0)))


def sat32(x: Array) -> Array:
    return np.clip(x, -LIMIT, LIMIT)


def bitlen(n: Array) -> Array:
    """Number of bits of n >= 0."""
    n = np.array(n, np.int64)
    bits = np.zeros_like(n)
    for step in (32, 16, 8, 4, 2, 1):
        long = (n >> step) > 0
        bits += step * long
        n = np.where(long, n >> step, n)
    return bits + (n > 0)


def rounded(q: Fraction) -> int:
    return math.floor(q + Fraction(1, 2))


def rational(x: float) -> Fraction:
    """A parameter that is a float stands for the decimal number that it shows."""
    return Fraction(repr(float(x)))


# ---------------------------------------------------------------------- GGUF files (the format's own specification)

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, LIST = 8, 9


class Tensor(NamedTuple):
    kind: str
    shape: tuple[int, ...]  # rows first: (N, K), or (n,)
    data: memoryview


class Gguf:
    """Metadata and tensors of a file, which is mapped, not read."""

    def __init__(self, path: Path) -> None:
        self.at = 0
        self.metadata: dict[str, Any] = {}
        self.tensors: dict[str, Tensor] = {}
        try:
            self.bytes = memoryview(np.memmap(path, np.uint8, "r"))
            self.read()
        except (struct.error, UnicodeDecodeError, KeyError, ValueError, OverflowError) as error:
            raise CannotVerifyError(
                f"{path} is no GGUF file that this program reads: near byte {self.at}: {error!r}"
            ) from error

    def scalar(self, code: str) -> Any:
        (value,) = struct.unpack_from("<" + code, self.bytes, self.at)
        self.at += struct.calcsize("<" + code)
        return value

    def string(self) -> str:
        return str(self.take(self.scalar("Q")), "utf-8")

    def take(self, length: int) -> memoryview:
        if self.at + length > len(self.bytes):
            raise ValueError(f"{length} bytes are wanted where {len(self.bytes) - self.at} are left")
        self.at += length
        return self.bytes[self.at - length : self.at]

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.string()
        if kind == LIST:
            item, length = self.scalar("I"), self.scalar("Q")
            if item == LIST:
                raise ValueError("a list of lists")
            return [self.value(item) for _ in range(length)]
        return self.scalar(SCALARS[kind])

    def read(self) -> None:
        if bytes(self.take(4)) != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        version, tensors, entries = self.scalar("I"), self.scalar("Q"), self.scalar("Q")
        if version != 3:
            raise ValueError(f"version {version}, not 3")
        for _ in range(entries):
            key = self.string()
            self.metadata[key] = self.value(self.scalar("I"))
        found = []
        for _ in range(tensors):
            name = self.string()
            shape = tuple(self.scalar("Q") for _ in range(self.scalar("I")))[::-1]
            number = self.scalar("I")
            kind = next((kind for kind, block in BLOCKS.items() if block.number == number), None)
            if kind is None:
                raise CannotVerifyError(f"tensor {name} is of GGUF's type {number}; here are {', '.join(BLOCKS)}")
            found.append((name, kind, shape, self.scalar("Q")))
        alignment = self.metadata.get("general.alignment", 32)
        start = -(-self.at // alignment) * alignment
        for name, kind, shape, offset in found:
            block = BLOCKS[kind]
            if not shape or shape[-1] % block.values:
                raise ValueError(f"tensor {name} of shape {shape} has no whole blocks of {block.values}")
            self.at = start + offset
            data = self.take(math.prod(shape) // block.values * block.layout.itemsize)
            self.tensors[name] = Tensor(kind, shape, data)


# ---------------------------------------------------------------------- numerics.md, section 1: weights


class Block(NamedTuple):
    """A row of the table of source blocks: how it lies in memory, and what it says."""

    number: int  # of the type in GGUF
    values: int
    layout: np.dtype
    zero: int = 0
    size: int = 32  # B


def layout(**fields: Any) -> np.dtype:
    return np.dtype([(name, *kind) if isinstance(kind, tuple) else (name, kind) for name, kind in fields.items()])


BLOCKS = {
    "F32": Block(0, 1, layout(x="<f4")),
    "F16": Block(1, 1, layout(x="<f2")),
    "BF16": Block(30, 1, layout(x="<u2")),
    "Q4_0": Block(2, 32, layout(d="<f2", q=("u1", 16)), 8),
    "Q4_1": Block(3, 32, layout(d="<f2", m="<f2", q=("u1", 16)), 8),
    "Q5_0": Block(6, 32, layout(d="<f2", h=("u1", 4), q=("u1", 16)), 16),
    "Q5_1": Block(7, 32, layout(d="<f2", m="<f2", h=("u1", 4), q=("u1", 16)), 16),
    "Q8_0": Block(8, 32, layout(d="<f2", q=("i1", 32)), 128),
    "Q4_K": Block(12, 256, layout(d="<f2", e="<f2", s=("u1", 12), q=("u1", 128)), 8),
    "Q5_K": Block(13, 256, layout(d="<f2", e="<f2", s=("u1", 12), h=("u1", 32), q=("u1", 128)), 16),
    "Q6_K": Block(14, 256, layout(q=("u1", 128), h=("u1", 64), s=("i1", 16), d="<f2"), 32, 16),
}
FLOATS = ("F32", "F16", "BF16")


class Matrix(NamedTuple):
    """Element (n, k) is codes * scale * 2^scale_exp + minimum * 2^minimum_exp, the codes less their zero point."""

    codes: Array  # (N, blocks, B) int16
    scale: Array  # (N, blocks)
    scale_exp: Array  # (N,)
    minimum: Array | None  # (N, blocks)
    minimum_exp: Array | None  # (N,)
    r: int


def fields(x: Array, width: int, run: int) -> Array:
    """The fields of some bits of each byte: of each run of bytes first all lowest fields, then the next."""
    runs = x.reshape(len(x), -1, 1, run)
    parts = runs >> np.arange(0, 8, width, dtype=np.uint8)[:, None] & (2**width - 1)
    return parts.reshape(len(x), -1).astype(np.int64)


def exact(name: str, x: Array) -> Array:
    """A float16 in units of 2^-24, as (n, 1)."""
    if not np.isfinite(x).all():
        raise CannotVerifyError(f"tensor {name} has a scale that is no finite number")
    return np.round(x.astype(np.float64)[:, None] * 2.0**24).astype(np.int64)


def six_bits(s: Array) -> tuple[Array, Array]:
    """Scales and minima of the eight blocks of Q4_K and Q5_K."""
    s = s.astype(np.int64)
    scales = np.hstack([s[:, :4] & 63, (s[:, 8:] & 15) + 16 * (s[:, :4] >> 6)])
    minima = np.hstack([s[:, 4:8] & 63, (s[:, 8:] >> 4) + 16 * (s[:, 4:8] >> 6)])
    return scales, minima


def source_blocks(name: str, kind: str, data: memoryview) -> tuple[Array, Array, Array | None]:
    """Codes of all source blocks, (n, values), their D and their M, (n, blocks), in units of 2^-24."""
    x = np.frombuffer(data, BLOCKS[kind].layout)
    d = exact(name, x["d"])
    if kind == "Q8_0":
        return x["q"].astype(np.int64) + 128, d, None
    if kind == "Q6_K":
        codes = fields(x["q"], 4, 64) + 16 * fields(x["h"], 2, 32)
        return codes, d * x["s"], None
    if kind in ("Q4_K", "Q5_K"):
        codes = fields(x["q"], 4, 32)
        if kind == "Q5_K":
            codes += 16 * fields(x["h"], 1, 32)
        scales, minima = six_bits(x["s"])
        D = d * scales
        return codes, D, BLOCKS[kind].zero * D - exact(name, x["e"]) * minima
    codes = fields(x["q"], 4, 16)
    if kind in ("Q5_0", "Q5_1"):
        codes += 16 * fields(x["h"], 1, 1)
    return codes, d, BLOCKS[kind].zero * d + exact(name, x["m"]) if kind in ("Q4_1", "Q5_1") else None


def with_exponent(D: Array) -> tuple[Array, Array]:
    """Scales of each row as int16 with one exponent: the least shift that makes the largest fit."""
    t = np.zeros(len(D), np.int64)
    while (large := rshift(np.abs(D).max(1), t) > 32767).any():
        t += large
    return rshift(D, t[:, None]), t - 24


def matrix(name: str, tensor: Tensor) -> Matrix:
    if len(tensor.shape) != 2:
        raise CannotVerifyError(f"tensor {name} has {len(tensor.shape)} dimensions, not the 2 of a matrix")
    if tensor.kind in FLOATS:
        return matrix_of_floats(floats(name, tensor))
    N, block = tensor.shape[0], BLOCKS[tensor.kind]
    codes, D, M = source_blocks(name, tensor.kind, tensor.data)
    codes = (codes - block.zero).reshape(N, -1, block.size).astype(np.int16)
    scale, scale_exp = with_exponent(D.reshape(N, -1))
    minimum, minimum_exp = (None, None) if M is None else with_exponent(M.reshape(N, -1))
    r = {"Q5_0": 1, "Q5_1": 1, "Q5_K": 1, "Q8_0": 4, "Q6_K": 2}.get(tensor.kind, 0)
    return Matrix(codes, scale, scale_exp, minimum, minimum_exp, r)


def floats(name: str, tensor: Tensor) -> Array:
    """A tensor of floats as float64, exactly."""
    x = np.frombuffer(tensor.data, BLOCKS[tensor.kind].layout)["x"]
    if tensor.kind == "BF16":
        x = (x.astype(np.uint32) << 16).view(np.float32)
    elif tensor.kind not in FLOATS:
        raise CannotVerifyError(f"tensor {name} is of type {tensor.kind}, not of floats")
    if not np.isfinite(x).all():
        raise CannotVerifyError(f"tensor {name} has a value that is no finite number")
    return x.astype(np.float64).reshape(tensor.shape)


def least_exponent(largest: Array) -> Array:
    """The least E with largest < 2^E, 0 for 0."""
    return np.frexp(largest)[1].astype(np.int64)


def matrix_of_floats(x: Array) -> Matrix:
    """A matrix of floats, converted to int8."""
    x = np.pad(x, ((0, 0), (0, -x.shape[1] % 32)))
    E = least_exponent(np.abs(x).max(1))
    xi = np.floor(np.ldexp(x, 30 - E[:, None]) + 0.5).astype(np.int64).reshape(len(x), -1, 32)
    largest = np.abs(xi).max(2)
    t = np.zeros(len(x), np.int64)
    while (large := -(-largest.max(1) // (127 << t)) > 32767).any():
        t += large
    scale = np.maximum(1, -(-largest // (127 << t)[:, None]))
    D = (scale << t[:, None])[:, :, None]
    return Matrix(((2 * xi + D) // (2 * D)).astype(np.int16), scale, t + E - 30, None, None, 4)


# ---------------------------------------------------------------------- numerics.md, section 2: functions

LOG2E, LN2 = 1549082005, 744261118  # Q30


def exp2neg(t: Array) -> Array:
    """2^-t for t >= 0 in Q16, as Q30."""
    n, f = t >> 16, (t & 65535) << 14
    acc = np.int64(-1014583)
    for c in (9884650, -59375086, 257891465, -744257403, 1073741824):
        acc = rshift(acc * f, 30) + c
    return np.where(n <= 30, rshift(acc, np.minimum(n, 30)), 0)


def sigmoid(x: Array) -> Array:
    """Of x in Q16, as Q30."""
    p = (1 << 60) // ((1 << 30) + exp2neg(rshift(np.abs(x) * LOG2E, 30)))
    return np.where(x >= 0, p, (1 << 30) - p)


def inverse_sqrt(v: int) -> tuple[int, int]:
    """(r, p), such that 1 / sqrt(v) is about r * 2^(p - 61)."""
    p = (62 - v.bit_length()) // 2
    return 2**61 // math.isqrt(v * 4**p), p


def log2(v: int) -> int:
    """Of v >= 1, as Q28."""
    w = y = v.bit_length() - 1
    m = v << 31 >> w
    for _ in range(28):
        m = m * m >> 31
        b = m >> 32
        m, y = m >> b, 2 * y + b
    return y


# ---------------------------------------------------------------------- numerics.md, section 3: activations


class Activations(NamedTuple):
    """Element (t, k) is about a * A * 2^X, with one A for each 32 inputs."""

    a: Array  # (T, blocks, 32)
    A: Array  # (T, blocks)
    X: Array  # (T,)


def quantized(x: Array, fraction: int) -> Activations:
    """Rows of integers with so many fraction bits as codes and scales."""
    x = np.pad(x, ((0, 0), (0, -x.shape[1] % 32)))
    amax = np.abs(x).max(1)
    e = bitlen(amax) - 20
    largest = np.where(e < 0, (127 * 8191) >> np.maximum(-e, 0), (127 * 8191) << np.maximum(e, 0))
    e = np.where(amax == 0, 0, e + (amax > largest))
    u = shift(x, e[:, None]).reshape(len(x), -1, 32)
    A = np.maximum(1, (np.abs(u).max(2) + 126) // 127)
    R = (2**24 + (A >> 1)) // A
    return Activations(rshift(u * R[:, :, None], 24), A, e - fraction)


def block_sums(x: Activations, size: int) -> tuple[Array, Array]:
    """(T, s): sums of the codes of blocks, times their scales, on 13 bits with one shift for the row."""
    S = (x.a * x.A[:, :, None]).reshape(len(x.a), -1, size).sum(2)
    largest = np.abs(S).max(1)
    s = np.maximum(0, bitlen(largest) - 13)
    s += rshift(largest, s) > 8191
    return rshift(S, s[:, None]), s


# ---------------------------------------------------------------------- numerics.md, section 4: matrix product


def grouped(x: Array, group: int, drop: int) -> Array:
    """Sums over groups of blocks (the first axis), each shifted, then over the groups."""
    return rshift(np.add.reduceat(x, np.arange(0, len(x), group), axis=0), drop).sum(0)


def product(x: Activations, w: Matrix, fraction: int) -> Array:
    """The product of rows with a matrix, (T, N), with so many fraction bits."""
    N, blocks, size = w.codes.shape
    # A block's products are integers of which no partial sum reaches 2^24, so that float32 is exact in any order.
    a = np.ascontiguousarray(x.a.reshape(len(x.a), blocks, size).transpose(1, 0, 2), np.float32)
    A = np.repeat(x.A, 32 // size, axis=1).T[:, :, None]
    sums = None if w.minimum is None else block_sums(x, size)
    step = max(1, 2**20 // (blocks * len(x.a)))  # of the rows at a time, for the sake of memory
    y = np.empty((len(x.a), N), np.int64)
    for i in range(0, N, step):
        n = slice(i, i + step)
        acc = np.matmul(a, w.codes[n].transpose(1, 2, 0).astype(np.float32)).astype(np.int64)
        c = rshift(w.scale[n].T[:, None, :] * A, 15)
        S = grouped(rshift(acc, w.r) * c, 256 // size, 7)
        y[:, n] = shift(S, -(22 + w.r + fraction + w.scale_exp[n] + x.X[:, None]))
        if w.minimum is not None:
            f = 7 if size == 32 else 8
            M = grouped(w.minimum[n].T[:, None, :] * sums[0].T[:, :, None], 8, f)
            y[:, n] += shift(M, -(f + fraction + w.minimum_exp[n] + x.X[:, None] + sums[1][:, None]))
    return np.clip(y, -(2**50), 2**50)


# ---------------------------------------------------------------------- numerics.md, section 5: RMSNorm


class Norm(NamedTuple):
    factor: Array
    exponent: int
    epsilon: int


def norm(gain: Array, eps: Fraction) -> Norm:
    n = len(gain)
    E = int(least_exponent(np.abs(gain).max()))
    q = np.floor(np.ldexp(gain, 30 - E) + 0.5).astype(np.int64) * math.isqrt(n << 40)
    d = max(0, int(bitlen(np.abs(q).max())) - 30)
    exponent = E + d - 20
    if not -20 <= exponent <= 30:
        raise CannotVerifyError(f"a norm's gain has the exponent {exponent}, not -20 to 30")
    return Norm(rshift(q, d), exponent, rounded(eps * n * 2**40))


def normed(x: Array, w: Norm, fraction: int = 20) -> tuple[Array, int]:
    """Wide rows, normalised into a narrow buffer, and its fraction."""
    amax = np.abs(x).max(1)
    s, t = np.maximum(0, bitlen(amax) - 20), np.maximum(0, bitlen(amax) - 31)
    epsilon = rshift(np.int64(w.epsilon), 2 * (20 - fraction))
    v = np.maximum(1, (rshift(x, s[:, None]) ** 2).sum(1) + rshift(epsilon, 2 * s))
    r, p = np.array([inverse_sqrt(int(value)) for value in v], np.int64).T
    unit = rshift(rshift(x, t[:, None]) * r[:, None], (31 - p + s - t)[:, None])
    return sat32(rshift(unit * w.factor, 30)), 30 - w.exponent


# ---------------------------------------------------------------------- numerics.md, section 6: rotary embedding

U = 2**160


def series(x: int, sigma: int) -> int:
    square, power, total, n, sign = x * x // U, x, 0, 1, 1
    while power:
        total += sign * (power // n)
        power, n, sign = power * square // U, n + 2, sign * sigma
    return total


PI = 16 * series(U // 5, -1) - 4 * series(U // 239, -1)


def logarithm(base: Fraction) -> int:
    w = math.floor(base).bit_length() - 1
    a, b = (base / 2**w).as_integer_ratio()
    return 2 * series(U * (a - b) // (a + b), 1) + w * 2 * series(U // 3, 1)


def exponential(z: int) -> int:
    z = z // 2**16
    term = total = U
    n = 1
    while term not in (0, -1):
        term = term * z // U // n
        total, n = total + term, n + 1
    for _ in range(16):
        total = total * total // U
    return total


def signed_logarithm(x: Fraction) -> Fraction:
    """Of x > 0; for an argument below 1 that of its inverse, negated."""
    return Fraction(logarithm(x), U) if x >= 1 else -Fraction(logarithm(1 / x), U)


Scaling = dict[str, Any]
"""A `type`, and its numbers as `rational` takes them; empty without a scaling."""


def clamped(x: Fraction) -> Fraction:
    return min(max(x, Fraction(0)), Fraction(1))


def llama3(frequencies: list[Fraction], base: Fraction, scaling: Scaling) -> list[Fraction]:
    factor, original = rational(scaling["factor"]), rational(scaling["original"])
    low, high = rational(scaling.get("low_freq_factor", 1)), rational(scaling.get("high_freq_factor", 4))
    blends = [clamped((original * frequency * U / (2 * PI) - low) / (high - low)) for frequency in frequencies]
    return [frequency * (b + (1 - b) / factor) for frequency, b in zip(frequencies, blends, strict=True)]


def yarn(frequencies: list[Fraction], base: Fraction, scaling: Scaling) -> list[Fraction]:
    d, factor = 2 * len(frequencies), rational(scaling["factor"])

    def at(t: Fraction) -> Fraction:
        argument = rational(scaling["original"]) * U / (2 * PI * t)
        return d * signed_logarithm(argument) / (2 * signed_logarithm(base))

    low = Fraction(max(math.floor(at(rational(scaling["beta_fast"]))), 0))
    high = Fraction(min(math.ceil(at(rational(scaling["beta_slow"]))), d - 1))
    high += Fraction(1, 1000) if high == low else 0
    if low > high:
        raise CannotVerifyError("the model's file gives beta_slow of YaRN's scaling as more than beta_fast")
    blends = [clamped((i - low) / (high - low)) for i in range(d // 2)]
    return [frequency * (1 - b + b / factor) for frequency, b in zip(frequencies, blends, strict=True)]


def linear(frequencies: list[Fraction], base: Fraction, scaling: Scaling) -> list[Fraction]:
    return [frequency / rational(scaling["factor"]) for frequency in frequencies]


SCALINGS = {
    "linear": linear,
    "llama3": llama3,
    "yarn": yarn,
    "longrope": lambda frequencies, base, scaling: frequencies,
}


def turns(base: Fraction, width: int, scaling: Scaling | None = None, divisors: Array | None = None) -> list[int]:
    """How far each pair turns from one position to the next, as 64-bit fractions of a turn."""
    ln = logarithm(base)
    frequencies = [Fraction(exponential(-(ln * 2 * i // width)), U) for i in range(width // 2)]
    if divisors is not None:
        frequencies = [f / Fraction(float(divisor)) for f, divisor in zip(frequencies, divisors, strict=True)]
    if scaling:
        frequencies = SCALINGS[scaling["type"]](frequencies, base, scaling)
    return [rounded(frequency / Fraction(2 * PI, U) * 2**64) % 2**64 for frequency in frequencies]


def rotary_factor(scaling: Scaling) -> Fraction:
    """What sines and cosines are multiplied by, a float32."""
    m = Fraction(1)
    if scaling.get("type") == "yarn" and (factor := rational(scaling["factor"])) > 1:
        m += signed_logarithm(factor) / 10
    m *= rational(scaling.get("attn_factor", 1))
    if not Fraction(1, 128) <= m < Fraction(7, 4):
        raise CannotVerifyError(f"the model's file gives sines and cosines the factor {float(m):.6g}, not 1/128 to 7/4")
    return Fraction(float(np.float32(float(m))))


def horner(z: Array, coefficients: list[int]) -> Array:
    acc = np.int64(coefficients[-1])
    for c in coefficients[-2::-1]:
        acc = rshift(acc * z, 30) + c
    return acc


def sine_cosine(positions: Array, turn: list[int], factor: Fraction = Fraction(1)) -> tuple[Array, Array]:
    """Tables (T, pairs) in Q30, times a factor."""
    angle = positions.astype(np.uint64)[:, None] * np.array(turn, np.uint64)  # mod 2^64
    quadrant = (angle + np.uint64(2**61)) >> np.uint64(62)
    u = rshift((angle - (quadrant << np.uint64(62))).view(np.int64), 31)
    z = rshift(u * u, 30)
    s = rshift(u * horner(z, [843314857, -86699833, 2674039, -39269, 332]), 30)
    c = horner(z, [1073741824, -331168967, 17023452, -349974, 3790])
    quadrants = [quadrant == i for i in range(4)]
    sine, cosine = np.select(quadrants, [s, c, -s, -c]), np.select(quadrants, [c, -s, -c, s])
    m = rounded(factor * 2**30)
    return rshift(sine * m, 30), rshift(cosine * m, 30)


def rotated(x: Array, sine: Array, cosine: Array) -> Array:
    """Heads (T, heads, width) with their pairs (2i, 2i + 1) turned."""
    pairs = 2 * sine.shape[1]
    a, b = x[:, :, 0:pairs:2], x[:, :, 1:pairs:2]
    sine, cosine = sine[:, None], cosine[:, None]
    x = x.copy()
    x[:, :, 0:pairs:2], x[:, :, 1:pairs:2] = (
        sat32(rshift(a * cosine - b * sine, 30)),
        sat32(rshift(a * sine + b * cosine, 30)),
    )
    return x


# ---------------------------------------------------------------------- numerics.md, section 7: attention


class Kind(NamedTuple):
    """A row of the table of what is cached, and the u of codecs."""

    fraction: int
    largest: int
    drop: int
    u: int


KEY, VALUE = Kind(8, 2047, 48, 16), Kind(6, 127, 50, 1)


def cached(x: Array, kind: Kind) -> tuple[Array, Array]:
    """Codes and scales of keys or of values, (T, heads, width) and (T, heads)."""
    amax = np.abs(x).max(2)
    scale = np.maximum(1, -(-(amax << kind.fraction) // kind.largest))
    return rshift(x * (2**56 // scale)[:, :, None], kind.drop), scale


def score_factor(width: int) -> tuple[int, int]:
    """1 / sqrt(width) and what else a score is multiplied by: mantissa and exponent."""
    q = Fraction(2**60, math.isqrt(width << 120)) * LOG2E / 2**30 / 2047
    E = 0
    while q * Fraction(2) ** E < 2**30:
        E += 1
    return min(rounded(q * 2**E), LIMIT), E


class Codec(NamedTuple):
    """The bits that keys and values have in the cache: kv_codecs.md, its table."""

    key_bits: int
    value_bits: int


CODECS = {"int8": Codec(8, 8), "int84": Codec(8, 4), "int4": Codec(4, 4)}


def hadamard(n: int) -> Array:
    """H(n) of section 9."""
    H = np.ones((1, 1), np.int64)
    while len(H) < n:
        H = np.block([[H, H], [H, -H]])
    return H


def turned(x: Array, up: bool = False) -> Array:
    """Heads (T, heads, width), rotated by H: keys and values drop half its bits rounded up, queries rounded down."""
    width = x.shape[-1]
    if width % 8:
        raise CannotVerifyError(f"the receipt's profile has a codec, which takes no heads of {width} columns")
    b = min(256, width & -width)
    bits = b.bit_length() - 1  # the document's l
    parts = x.reshape(*x.shape[:-1], -1, b) @ hadamard(b)
    return sat32(rshift(parts, -(-bits // 2) if up else bits // 2)).reshape(x.shape)


def coded(y: Array, s: Array, bits: int, u: int) -> tuple[Array, Array]:
    """The codec's codes q and scales, of codes (T, heads, width) and scales (T, heads)."""
    if bits == 8:
        return np.clip(rshift(y, u.bit_length() - 1), -127, 127), s
    steps = np.arange(17, 11, -1)  # the document's n
    each = steps[:, None, None, None] * u
    q = np.clip(y // each, -8, 7)
    best = ((2 * y - (2 * q + 1) * each) ** 2).sum(-1).argmin(0)
    return np.take_along_axis(q, best[None, :, :, None], 0)[0], np.maximum(1, rshift(s * steps[best], 4))


def read(q: Array, bits: int, u: int) -> Array:
    """The codes that attention reads."""
    return q * u if bits == 8 else (2 * q + 1) * 8 * u


def kept(x: Array, kind: Kind, bits: int) -> tuple[Array, Array]:
    """Codes and scales as attention finds them in the cache; 0 bits without a codec."""
    if not bits:
        return cached(x, kind)
    q, scale = coded(*cached(turned(x, up=True), kind), bits, kind.u)
    return read(q, bits, kind.u), scale


def attended(q: Array, k: Array, v: Array, codec: Codec | None = None) -> Array:
    """What each query (T, heads, width) takes from the keys and values up to its own position, (T, heads * width)."""
    T, heads, width = q.shape
    q = q if codec is None else turned(q)
    mantissa, E = score_factor(width)
    amax = np.abs(q).max(2)
    codes = rshift(q * (2047 * 2**48 // np.maximum(1, amax))[:, :, None], 48)
    bits = bitlen(amax * mantissa)  # the document's l
    m = shift(amax * mantissa, bits - 15)
    drop = E + 24 - bits
    key_bits, value_bits = codec or (0, 0)
    key, key_scale = kept(k, KEY, key_bits)
    value, value_scale = kept(v, VALUE, value_bits)
    hidden = np.arange(T)[None, :] > np.arange(T)[:, None]
    result = np.empty_like(q)
    for h in range(heads):
        kv = h * k.shape[1] // heads
        acc = codes[:, h] @ key[:, kv].T
        score = sat32(shift(rshift(acc * m[:, h, None], 15) * key_scale[:, kv], drop[:, h, None]))
        largest = np.where(hidden, -LIMIT, score).max(1)[:, None]
        e = np.where(hidden, 0, exp2neg(np.where(hidden, 0, largest - score)))
        t = e * value_scale[:, kv]
        g = np.maximum(0, bitlen(t.max(1)) - 12)[:, None]  # the document's h
        weight = np.minimum(4095, rshift(t, g))
        total = weight @ value[:, kv]
        mass = e.sum(1)[:, None]
        b = bitlen(mass) - 23  # the document's l
        result[:, h] = sat32(rshift(total * (2**46 // rshift(mass, b)), 52 + b - g))
    return (result if codec is None else turned(result)).reshape(T, -1)


# ---------------------------------------------------------------------- numerics.md, section 8: gates


def silu_gate(g: Array, u: Array) -> Array:
    """Narrow gate and up, Q16, to a wide result, Q20."""
    return rshift(rshift(g * sigmoid(g), 30) * u, 12)


# ---------------------------------------------------------------------- numerics.md, section 9: the program


class Llama:
    """The decoder of a GGUF file of architecture `llama`; a matrix is read when it is used, and let go."""

    parameters = (
        *("block_count", "embedding_length", "feed_forward_length", "context_length", "vocab_size", "rope.freq_base"),
        *("attention.head_count", "attention.head_count_kv", "attention.key_length", "attention.value_length"),
        *("attention.layer_norm_rms_epsilon", "rope.dimension_count"),
        *(f"rope.scaling.{name}" for name in ("type", "factor", "original_context_length", "attn_factor")),
        *("rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow"),
    )
    parts = ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down")

    def __init__(self, file: Gguf) -> None:
        self.file = file
        architecture = file.metadata.get("general.architecture")
        if architecture != "llama":
            raise CannotVerifyError(f"the model's architecture is {architecture!r}; here is 'llama' alone")
        if unknown := sorted(k for k in file.metadata if k.startswith("llama.") and k[6:] not in self.parameters):
            raise CannotVerifyError(f"the model's file says {unknown[0]}, which is not implemented here")
        self.layers = self.parameter("block_count")
        self.width = self.parameter("embedding_length")
        self.hidden = self.parameter("feed_forward_length")
        self.context = min(self.parameter("context_length"), 2**19)
        self.heads = self.parameter("attention.head_count")
        self.kv_heads = self.parameter("attention.head_count_kv", self.heads)
        self.head_width = self.parameter("attention.key_length", self.width // self.heads)
        if self.parameter("attention.value_length", self.head_width) != self.head_width:
            raise CannotVerifyError("the model's keys and values are of different width")
        self.exact_eps = float(self.parameter("attention.layer_norm_rms_epsilon"))
        self.eps = rational(self.exact_eps)
        self.base = rational(self.parameter("rope.freq_base", 10000.0))
        self.rotary_width = self.parameter("rope.dimension_count", self.head_width)
        self.scaling = self.scaling_of_rotation()
        known = {"token_embd.weight", "output_norm.weight", "output.weight"}
        self.unused: set[str] = set()
        self.divisors = "rope_freqs.weight"
        if self.scaling.get("type") == "longrope":
            short, long = "rope_factors_short.weight", "rope_factors_long.weight"
            self.divisors, other = (long, short) if self.context > self.scaling["original"] else (short, long)
            self.tensor(self.divisors, self.rotary_width // 2)
            self.unused = {other} & file.tensors.keys()
        known |= {self.divisors} | self.unused
        known |= {f"blk.{i}.{part}.weight" for i in range(self.layers) for part in self.parts}
        if unknown := sorted(file.tensors.keys() - known):
            raise CannotVerifyError(f"the model has a tensor of no use to the program of a Llama: {unknown[0]}")
        if "token_embd.weight" not in file.tensors:
            raise CannotVerifyError("the model has no tensor token_embd.weight")
        self.vocabulary = file.tensors["token_embd.weight"].shape[0]
        self.head = "output" if "output.weight" in file.tensors else "token_embd"
        listed = None
        if self.divisors in file.tensors:
            listed = floats(self.divisors, self.tensor(self.divisors, self.rotary_width // 2))
            if (listed <= 0).any():
                raise CannotVerifyError(f"tensor {self.divisors} has a divisor that is not positive")
        self.turns = turns(self.base, self.rotary_width, self.scaling, listed)
        self.rotary_factor = rotary_factor(self.scaling)
        self.digest = weights_digest(self).hex()

    def scaling_of_rotation(self) -> Scaling:
        p = "rope.scaling."
        factor, attn_factor = self.parameter(p + "factor", 1.0), self.parameter(p + "attn_factor", 1.0)
        kind = self.file.metadata.get(f"llama.{p}type")
        if kind is None and attn_factor != 1:
            kind = "longrope"
        if kind == "none" or (kind is None and factor == 1):
            return {}
        found = {"type": kind or "linear", "factor": factor, "attn_factor": attn_factor}
        if found["type"] == "linear" and attn_factor == 1:
            return found
        if kind not in ("yarn", "longrope"):
            more = "" if attn_factor == 1 else f" with an attn_factor of {attn_factor:g}"
            raise CannotVerifyError(f"the model's file scales rotations by {kind!r:.60}{more}: not implemented here")
        context = self.parameter("context_length")
        found["original"] = self.parameter(p + "original_context_length", context)
        found |= {beta: self.parameter(f"{p}yarn_{beta}", n) for beta, n in (("beta_fast", 32.0), ("beta_slow", 1.0))}
        return found

    def parameter(self, name: str, default: Any = None) -> Any:
        value = self.file.metadata.get("llama." + name, default)
        if type(value) not in (int, float) or not 0 < value < math.inf:
            raise CannotVerifyError(
                f"the model's file gives llama.{name} as {value!r:.60}, which is no positive number"
            )
        return value

    def tensor(self, name: str, *shape: int) -> Tensor:
        tensor = self.file.tensors.get(name)
        if tensor is None or tensor.shape != shape:
            raise CannotVerifyError(
                f"tensor {name} is {'absent' if tensor is None else tensor.shape}, not of shape {shape}"
            )
        return tensor

    def matrix(self, name: str, N: int, K: int) -> Matrix:
        return matrix(name, self.tensor(name + ".weight", N, K))

    def norm(self, name: str) -> Norm:
        return norm(floats(name, self.tensor(name + ".weight", self.width)), self.eps)

    def embedded(self, tokens: Array) -> Array:
        """Rows of the embedding, wide."""
        whole = self.file.tensors["token_embd.weight"]
        row = len(whole.data) // whole.shape[0]
        data = b"".join(whole.data[token * row : (token + 1) * row] for token in tokens)
        w = matrix("token_embd", Tensor(whole.kind, (len(tokens), self.width), memoryview(data)))
        f = 2**24
        x = rshift(w.codes.astype(np.int64) * w.scale[:, :, None] * f, (4 - w.scale_exp)[:, None, None])
        if w.minimum is not None:
            x += rshift(w.minimum * f, (4 - w.minimum_exp)[:, None])[:, :, None]
        return x.reshape(len(tokens), -1)[:, : self.width]

    def run(self, tokens: Array, codec: Codec | None = None) -> Activations:
        """What enters the head at each position; `boundaries` are the rows between layers on the way."""
        x = self.embedded(tokens)
        self.boundaries = [x.copy()]
        sine, cosine = sine_cosine(np.arange(len(tokens)), self.turns, self.rotary_factor)
        shape = (len(tokens), -1, self.head_width)
        for i in range(self.layers):
            layer = f"blk.{i}."
            own, shared = self.heads * self.head_width, self.kv_heads * self.head_width
            source = quantized(*normed(x, self.norm(layer + "attn_norm")))
            q = sat32(product(source, self.matrix(layer + "attn_q", own, self.width), 16)).reshape(shape)
            k = sat32(product(source, self.matrix(layer + "attn_k", shared, self.width), 16)).reshape(shape)
            v = sat32(product(source, self.matrix(layer + "attn_v", shared, self.width), 16)).reshape(shape)
            result = attended(rotated(q, sine, cosine), rotated(k, sine, cosine), v, codec)
            x += product(quantized(result, 16), self.matrix(layer + "attn_output", self.width, own), 20)
            source = quantized(*normed(x, self.norm(layer + "ffn_norm")))
            gate = sat32(product(source, self.matrix(layer + "ffn_gate", self.hidden, self.width), 16))
            up = sat32(product(source, self.matrix(layer + "ffn_up", self.hidden, self.width), 16))
            result = quantized(silu_gate(gate, up), 20)
            x += product(result, self.matrix(layer + "ffn_down", self.width, self.hidden), 20)
            self.boundaries.append(x.copy())
        return quantized(*normed(x, self.norm("output_norm")))

    def logits(self, source: Activations) -> Array:
        """Rows of the vocabulary, Q16."""
        return sat32(product(source, self.matrix(self.head, self.vocabulary, self.width), 16))


# ---------------------------------------------------------------------- numerics.md, section 10, and sampling.md: draws


class Sampling(NamedTuple):
    temperature: Fraction
    top_k: int
    top_p: Fraction
    min_p: Fraction
    typical_p: Fraction


def shortest_run(order: Array, w: Array, share: Fraction) -> Array:
    """The first of these tokens, one at least, whose mass is that share of the mass of all."""
    need = -(-int(w[order].sum()) * share.numerator // share.denominator)
    return order[: max(1, int(np.searchsorted(np.cumsum(w[order]), need)) + 1)]


def drawn(z: Array, sampling: Sampling, uniform: int) -> int:
    """The token that a row of logits and a uniform number of 64 bits give."""
    ranks = np.argsort(-z, kind="stable")
    if sampling.temperature == 0:
        return int(ranks[0])
    slope = rounded(LOG2E / sampling.temperature)
    t = rshift(np.minimum(z.max() - z, 2**61 // slope) * slope, 30)
    w = exp2neg(t)
    stay = ranks[: sampling.top_k] if sampling.top_k else ranks
    if sampling.top_p < 1:
        stay = shortest_run(stay, w, sampling.top_p)
    if sampling.min_p > 0:
        stay = stay[w[stay] >= math.ceil(2**30 * sampling.min_p)]
    if sampling.typical_p < 1:
        stay = stay[w[stay] > 0]
        mean = 2**8 * int((w[stay] * t[stay] >> 8).sum()) // int(w[stay].sum())
        stay = shortest_run(stay[np.argsort(np.abs(t[stay] - mean), kind="stable")], w, sampling.typical_p)
    stay = np.sort(stay)
    running = np.cumsum(w[stay])
    target = uniform * int(running[-1]) >> 64
    return int(stay[np.searchsorted(running, target, side="right")])


def log_probability(z: Array, token: int) -> int:
    """In nats, Q24."""
    return -(int(z.max() - z[token]) << 8) - ((log2(mass(z)) - 30 * 2**28) * LN2 + 2**33 >> 34)


def mass(z: Array) -> int:
    return int(exp2neg(rshift((z.max() - z) * LOG2E, 30)).sum())


def unsure(z: Array, below: Fraction) -> bool:
    """The likeliest token's probability is less than a decimal of at most six places."""
    return int(below * 10**6) * mass(z) > 2**30 * 10**6


# ---------------------------------------------------------------------- mixing.md: the rules

D = 10**6
LEFT_OUT = -LIMIT


def times(x: Array, f: int) -> Array:
    return (2 * x * f + D) // (2 * D)


def weights_of(z: Array) -> Array:
    return exp2neg(rshift(np.minimum(z.max() - z, 2**22) * LOG2E, 30))


def plausible(z: Array, alpha: int) -> Array:
    """Of constraints and biases this program knows nothing, so that all tokens are allowed."""
    return weights_of(z) >= -(-(2**30) * alpha // D)


def guidance(n: int, c: Array, u: Array, scale: int) -> Array:
    return sat32(u + times(c - u, scale))


def contrastive(n: int, c: Array, a: Array, beta: int, alpha: int) -> Array:
    return np.where(plausible(c, alpha), sat32(c + times(c - a, beta)), LEFT_OUT)


def proxy(n: int, c: Array, t: Array, u: Array, scale: int) -> Array:
    return sat32(c + times(t - u, scale))


def m3id(n: int, c: Array, u: Array, decay: int, cap: int, alpha: int, certain: int) -> Array:
    if not certain * mass(c) > 2**30 * D:
        return c
    e = (2 * decay * n * LOG2E + D * 2**14) // (D * 2**15)
    g = int(exp2neg(np.array([min(e, 31 * 2**16)]))[0])
    k = cap * 2**16 // D
    if g:
        k = min(k, (2**30 - g) * 2**16 // g)
    return np.where(plausible(c, alpha), sat32(c + rshift((c - u) * k, 16)), LEFT_OUT)


def uscd(n: int, c: Array, u: Array, deviation: int, floor: int, weight: int, contrast: int) -> Array:
    w, other, V = weights_of(c), weights_of(u), len(c)
    M, squares = int(w.sum()), sum(int(x) ** 2 for x in w)
    deviation = deviation or math.isqrt(890_000**2 // V)
    if (V * squares - M**2) * D**2 > deviation**2 * V * V * M**2:
        return c
    d = 2**32 * w // M * weight - 2**32 * other // int(other.sum()) * contrast
    stay = (d > 0) & (w >= -(-floor * M // (V * D)))
    if not stay.any():
        return c
    mixed = np.full(V, LEFT_OUT, np.int64)
    mixed[stay] = [(((log2(int(x)) + 128) >> 8) * LN2 + 2**33) >> 34 for x in d[stay]]
    return mixed


MIXES: dict[str, Callable[..., Array]] = {one.__name__: one for one in (guidance, contrastive, proxy, m3id, uscd)}


def branch_key(seed: int, branch: list[str | int]) -> int:
    text = "|".join([str(seed), *(f"{len(str(part).encode())}:{part}" for part in branch)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def uniform64(key: int, position: int) -> int:
    """The number of a position: two words of Philox4x32-10."""
    low = 2**32 - 1
    c0, c1, c2, c3 = position & low, position >> 32, 0, 0
    k0, k1 = key & low, key >> 32
    for _ in range(10):
        p0, p1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = p1 >> 32 ^ c1 ^ k0, p1 & low, p0 >> 32 ^ c3 ^ k1, p0 & low
        k0, k1 = (k0 + 0x9E3779B9) & low, (k1 + 0xBB67AE85) & low
    return c0 | c1 << 32


# ---------------------------------------------------------------------- receipts.md: the document

Check = Callable[[Any], bool]
MOST_BYTES, MOST_VALUES = 8 * 2**20, 266240


def canonical(value: Any) -> bytes:
    """RFC 8785, of values without floats whose members have ASCII names."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sha256(*parts: bytes | memoryview) -> bytes:
    made = hashlib.sha256()
    for part in parts:
        made.update(part)
    return made.digest()


def integer(low: int, high: int) -> Check:
    return lambda x: type(x) is int and low <= x <= high


def text(pattern: str = "(?s).*") -> Check:
    return lambda x: isinstance(x, str) and re.fullmatch(pattern, x) is not None


def one_of(*values: Any) -> Check:
    return lambda x: any(type(x) is type(value) and x == value for value in values)


def either(*checks: Check) -> Check:
    return lambda x: any(check(x) for check in checks)


def list_of(check: Check, least: int = 0, most: int = MOST_VALUES) -> Check:
    return lambda x: isinstance(x, list) and least <= len(x) <= most and all(map(check, x))


def decimal(low: str, high: str) -> Check:
    shown = text(r"(?!-0$)-?(0|[1-9][0-9]{0,3})(\.[0-9]{0,5}[1-9])?")
    return lambda x: shown(x) and Fraction(low) <= Fraction(x) <= Fraction(high)


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def links_of(chain: str) -> bytes:
    return base64.urlsafe_b64decode(chain + "=" * (-len(chain) % 4)) if len(chain) % 4 != 1 else b""


def ascending(x: Any) -> bool:
    return list_of(TOKEN)(x) and x == sorted(set(x))


def source(x: Any) -> bool:
    """What the prompt's tokens were made from: no tokenizer here could check it."""
    if not isinstance(x, dict):
        return x is None
    kinds = x.keys() == {"kind", "text", "now"} and one_of("text", "chat")(x["kind"])
    return kinds and text()(x["text"]) and either(NULL, text())(x["now"])


def stops(x: Any) -> bool:
    return list_of(text("(?s).{1,1024}"), 0, 256)(x) and len(set(x)) == len(x)


NULL, TOKEN, COUNT = one_of(None), integer(0, 2**31 - 1), integer(0, 2**30)
DIGEST, SHARE = text("[0-9a-f]{64}"), decimal("0.000001", "1")
PROFILES: dict[str, Codec | None] = {"int8": None} | {f"int8+kv-{name}": codec for name, codec in CODECS.items()}
RECEIPT = {
    "format": one_of("intact-receipt"),
    "version": one_of(1),
    "hash": one_of("sha256"),
    "model": {
        "weights": DIGEST,
        "tensors": integer(1, 2**24),
        "tokenizer": DIGEST,
        "template": either(NULL, DIGEST),
        "ends": ascending,
        "name": either(NULL, text()),
    },
    "numerics": {"version": one_of("1"), "profile": one_of(*PROFILES), "bits": one_of(8)},
    "request": {
        "prompt": list_of(TOKEN, 1),
        "sampling": {
            "temperature": decimal("0", "1000"),
            "top_p": SHARE,
            "min_p": decimal("0", "1"),
            "typical_p": SHARE,
            "repetition_penalty": one_of("1"),
            "presence_penalty": one_of("0"),
            "frequency_penalty": one_of("0"),
            "logit_bias": one_of({"tokens": [], "values": []}),
            "constraint": NULL,
            "top_k": COUNT,
            "min_tokens": one_of(0),
            "max_tokens": integer(1, 2**30),
            "seed": lambda x: text("0|-?[1-9][0-9]{0,19}")(x) and -(2**63) <= int(x) < 2**64,
            "stop": stops,
            "ignore_eos": one_of(False, True),
        },
        "branch": list_of(either(text(), integer(1 - 2**53, 2**53 - 1)), 0, 16),
        "compiler": NULL,
        "source": source,
    },
    "output": {
        "tokens": list_of(TOKEN, 1),
        "finish": one_of("stop", "uncertain", "unlikely", "length", "context"),
        "text": text(),
        "logprobs": either(NULL, list_of(integer(-(2**48), 0))),
    },
    "chain": lambda x: text("[A-Za-z0-9_-]+")(x) and base64url(links_of(x)) == x,
}
"""What each member can be for this program: no penalties, biases, constraints, no other profile or hash function."""

STREAM = {"prompt": either(NULL, list_of(TOKEN, 1)), "source": source, "model": lambda x: True}
DECODING = {
    "name": one_of(*MIXES),
    "version": one_of(1, 2),
    "parameters": lambda x: isinstance(x, dict) and all(map(integer(0, 2**40), x.values())),
    "streams": list_of(lambda x: isinstance(x, dict), 1, 8),
}
WINDOW = 16
OPTIONAL: dict[str, dict[str, Any]] = {
    "receipt": {"layers": {"count": integer(1, 4096), "root": DIGEST}},
    "receipt.request": {"decoding": DECODING},
    "receipt.request.sampling": {
        "stop_below": decimal("0.000001", "1"),
        "stop_mean_below": decimal("-100", "-0.000001"),
        "stop_window": lambda x: integer(1, 2**30)(x) and x != WINDOW,
    },
}
"""Members that may be absent, by where they are."""


def insist(value: Any, shape: Any, where: str) -> None:
    """A value has the members of its shape, and no other."""
    if isinstance(shape, dict):
        names = value.keys() if isinstance(value, dict) else set[str]()
        shape = shape | {name: own for name, own in OPTIONAL.get(where, {}).items() if name in names}
        if names != shape.keys():
            raise CannotVerifyError(f"{where} should have the members {', '.join(shape)}; found {', '.join(names)}")
        for name in shape:
            insist(value[name], shape[name], f"{where}.{name}")
    elif not shape(value):
        raise CannotVerifyError(f"{where} is {value!r:.60}, which this program does not know")


def refuse_number(text: str) -> None:
    raise ValueError(f"the number {text:.40} is no integer")


def parse(line: bytes) -> dict[str, Any]:
    """A receipt, of which nothing is believed."""
    if len(line) > MOST_BYTES // (1 if line.isascii() else 2):
        raise CannotVerifyError(f"the receipt has {len(line)} bytes, more than it may")
    if sum(map(re.sub(rb'"(?:[^"\\]++|\\.)*+"', b"", line).count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise CannotVerifyError(f"the receipt has more than {MOST_VALUES} values")
    try:
        receipt = json.loads(line.decode(), parse_float=refuse_number, parse_constant=refuse_number)
        if canonical(receipt) != line:
            raise CannotVerifyError("the receipt is not in the canonical form of RFC 8785")
    except (ValueError, RecursionError) as error:
        raise CannotVerifyError(f"the receipt is not valid JSON: {error!r:.200}") from error
    if isinstance(receipt, dict) and "signature" in receipt:  # not checked: there is no Ed25519 in NumPy
        insist(receipt.pop("signature"), {"key": DIGEST, "value": text("[0-9a-f]{128}")}, "receipt.signature")
    insist(receipt, RECEIPT, "receipt")
    if "stop_window" in (sampling := receipt["request"]["sampling"]) and "stop_mean_below" not in sampling:
        raise CannotVerifyError("receipt.request.sampling has a stop_window of no stop_mean_below")
    for stream in receipt["request"].get("decoding", {"streams": []})["streams"]:
        insist(stream, STREAM, "stream")
        insist(stream["model"], NULL if stream["model"] is None else RECEIPT["model"], "stream.model")
        if (stream["prompt"] is None) == (stream["model"] is None):
            raise CannotVerifyError("a stream must have either a prompt or a model")
    return receipt


# ---------------------------------------------------------------------- receipts.md: digests


def tree_hash(leaves: list[bytes]) -> bytes:
    """Of the leaves' hashes, RFC 6962."""
    if len(leaves) == 1:
        return leaves[0]
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\1", tree_hash(leaves[:k]), tree_hash(leaves[k:]))


def weights_digest(model: Llama) -> bytes:
    """Root over the program's description and the tensors that it uses, by name."""
    leaves = [sha256(b"\0", canonical(description(model)))]
    for name in sorted(model.file.tensors.keys() - model.unused, key=str.encode):
        tensor = model.file.tensors[name]
        head = canonical({"kind": tensor.kind, "name": name, "shape": list(tensor.shape)})
        leaves.append(sha256(b"\0", head, b"\n", tensor.data))
    return tree_hash(leaves)


def description(model: Llama) -> dict[str, Any]:
    """The program, with every number that the tensors do not hold."""
    heads, kv_heads, head_width = model.heads, model.kv_heads, model.head_width
    widths = {"x": model.width, "normed": model.width, "q": heads * head_width, "attended": heads * head_width}
    widths |= dict.fromkeys(("k", "v"), kv_heads * head_width) | dict.fromkeys(("gate", "up", "hidden"), model.hidden)
    eps = str(Fraction(model.exact_eps))
    scale = str(Fraction(2**60, math.isqrt(head_width << 120)))

    def norm(gain: str) -> dict[str, Any]:
        return {"op": "norm", "source": "x", "target": "normed", "gain": gain + ".weight", "eps": eps}

    def linear(source: str, prefix: str, targets: dict[str, str], **more: bool) -> dict[str, Any]:
        weights = [{"buffer": to, "weight": f"{prefix}{part}.weight", **more} for to, part in targets.items()]
        return {"op": "linear", "source": source, "targets": weights}

    ops: list[dict[str, Any]] = [{"op": "embed", "target": "x", "weight": "token_embd.weight"}]
    for i in range(model.layers):
        p = f"blk.{i}."
        rope = {"op": "rope", "rotation": 0, "width": head_width, "interleaved": True}
        sizes = {"heads": heads, "kv_heads": kv_heads, "width": head_width}
        ops += [
            norm(p + "attn_norm"),
            linear("normed", p, {"q": "attn_q", "k": "attn_k", "v": "attn_v"}),
            {**rope, "buffer": "q", "heads": heads},
            {**rope, "buffer": "k", "heads": kv_heads},
            {"op": "attend", "query": "q", "key": "k", "value": "v", "target": "attended", "layer": i, "scale": scale}
            | sizes,
            linear("attended", p, {"x": "attn_output"}, accumulate=True),
            norm(p + "ffn_norm"),
            linear("normed", p, {"gate": "ffn_gate", "up": "ffn_up"}),
            {"op": "gate", "gate": "gate", "up": "up", "target": "hidden", "kind": "silu"},
            linear("hidden", p, {"x": "ffn_down"}, accumulate=True),
        ]
    ops += [norm("output_norm"), {"op": "logits", "source": "normed", "weight": model.head + ".weight"}]
    wide = {"x", "hidden"}
    return {
        "architecture": "llama",
        "buffers": {name: {"width": n, **({"wide": True} if name in wide else {})} for name, n in widths.items()},
        "ops": ops,
        "rotations": [[str(turn) for turn in model.turns]],
        **({} if model.rotary_factor == 1 else {"rotation_factors": [str(model.rotary_factor)]}),
        "layers": model.layers,
        "kv_heads": kv_heads,
        "head_width": head_width,
        "vocabulary": model.vocabulary,
        "context": model.context,
    }


def plain(value: Any) -> Any:
    """Metadata without floats."""
    if isinstance(value, float):
        return struct.pack(">d", value).hex()
    return [plain(item) for item in value] if isinstance(value, list) else value


class Tokenizer:
    """What of a file's byte-level tokenizer a verifier needs: its digest, its ends, and how tokens are read."""

    names = (
        *("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|end|>", "<end_of_turn>"),
        *("<end_of_utterance>", "<｜end▁of▁sentence｜>"),
    )

    def __init__(self, metadata: dict[str, Any]) -> None:
        own = {key: plain(value) for key, value in metadata.items() if key.startswith("tokenizer.ggml.")}
        template = metadata.get("tokenizer.chat_template")
        self.digest = sha256(canonical({"format": "gguf", "metadata": own})).hex()
        self.template = None if template is None else sha256(template.encode()).hex()
        if own.get("tokenizer.ggml.model") != "gpt2":
            raise CannotVerifyError("the model's tokenizer is not of the kind gpt2, which alone is implemented here")
        self.tokens: list[str] = own.get("tokenizer.ggml.tokens", [])
        self.types: list[int] = own.get("tokenizer.ggml.token_type", [1] * len(self.tokens))
        if len(self.tokens) != len(self.types):
            raise CannotVerifyError(f"the model's file has types for {len(self.types)} of {len(self.tokens)} tokens")
        ends = {own.get(f"tokenizer.ggml.{end}_token_id") for end in ("eos", "eot", "eom")} - {None}
        self.ends = sorted(ends | {token for token, text in enumerate(self.tokens) if text in self.names})
        printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
        others = [byte for byte in range(256) if byte not in printable]
        self.alphabet = {chr(byte): byte for byte in printable} | {chr(256 + i): b for i, b in enumerate(others)}

    def bytes_of(self, token: int) -> bytes:
        if token >= len(self.tokens) or self.tokens[token] in self.names:
            return b""
        text, kind = self.tokens[token], self.types[token]
        if kind == 1 and all(character in self.alphabet for character in text):
            return bytes(self.alphabet[character] for character in text)
        if kind == 6:
            return bytes.fromhex(text[3:5])
        return text.encode() if kind in (1, 4) else b""


# ---------------------------------------------------------------------- receipts.md: chain, and the verdict


class Verdict(NamedTuple):
    true: bool
    what: str
    position: int | None = None  # of the output, or for "prompt" of the prompt

    def __str__(self) -> str:
        where = "" if self.position is None else f" at position {self.position}"
        return "true" if self.true else f"false: {self.what}{where}"


def states(source: Activations) -> list[bytes]:
    """What enters the head, as the chain has it."""
    T = len(source.a)
    codes, scales = source.a.reshape(T, -1).astype("i1"), source.A.astype("<i2")
    return [codes[i].tobytes() + scales[i].tobytes() + struct.pack("<i", source.X[i]) for i in range(T)]


def ending(
    receipt: dict[str, Any],
    model: Llama,
    tokenizer: Tokenizer,
    doubts: Array | None = None,
    room: int = 0,
    logprobs: list[int] | None = None,
) -> tuple[int, str, str]:
    """How many of the tokens belong to the answer, why it ends there (or not at all), and its text.

    Doubts says of each token if it was drawn where the row was unsure; room is what the longest stream leaves;
    log-probabilities are given where their mean may end the text.
    """
    sampling, prompt = receipt["request"]["sampling"], receipt["request"]["prompt"]
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = ""
    for n, token in enumerate(receipt["output"]["tokens"], 1):
        finish = "context" if n == (room or model.context - len(prompt)) else ""
        finish = "length" if n == sampling["max_tokens"] else finish
        window = sampling.get("stop_window", WINDOW)
        if logprobs is not None and n >= window:
            mean = Fraction(sum(logprobs[n - window : n]), window << 24)
            finish = "unlikely" if mean < Fraction(sampling["stop_mean_below"]) else finish
        if doubts is not None and doubts[n - 1]:
            finish = "uncertain"
        elif token in tokenizer.ends and not sampling["ignore_eos"]:
            finish = "stop"
        else:
            text += decoder.decode(tokenizer.bytes_of(token))
        if finish:
            text += decoder.decode(b"", final=True)
        found = [(at + len(stop), at) for stop in sampling["stop"] if (at := text.find(stop)) >= 0]
        if found:
            return n, "stop", text[: min(found)[1]]
        if finish:
            return n, finish, text
    return n, "", text


class Rows(NamedTuple):
    """Of each token of the output the row that it is drawn from, what the chain has of it; and the room for tokens."""

    logits: list[Array]
    states: list[bytes]
    room: int


def rows_of(receipt: dict[str, Any], model: Llama, others: list[Llama]) -> Rows | Verdict:
    """One pass over each stream, and the mix of their rows."""
    request, tokens = receipt["request"], receipt["output"]["tokens"]
    codec = PROFILES[receipt["numerics"]["profile"]]
    decoding = request.get("decoding", {"streams": []})
    streams = [(model, request["prompt"])]
    for stream in decoding["streams"]:
        if stream["model"] is None:
            streams.append((model, stream["prompt"]))
            continue
        found = [other for other in others if other.digest == stream["model"]["weights"]]
        if not found:
            raise CannotVerifyError("the receipt's mix takes another model, which is not given")
        streams.append((found[0], request["prompt"]))
    logits, heads, rooms = [], [], []
    for one, prompt in streams:
        rooms.append(one.context - len(prompt))
        if rooms[-1] < len(tokens):
            raise CannotVerifyError(f"prompt and output have more than the {one.context} tokens of a model's context")
        if any(token >= one.vocabulary for token in prompt):
            return Verdict(False, "decoding")
        whole = one.run(np.array(prompt + tokens[:-1]), codec)
        last = Activations(*(part[len(prompt) - 1 :] for part in whole))
        logits.append(one.logits(last))
        heads.append(states(last))
    mixed = list(logits[0])
    if "name" in decoding:
        if decoding["version"] != (2 if decoding["name"] == "uscd" else 1):
            raise CannotVerifyError(f"there is no version {decoding['version']} of the mix {decoding['name']} here")
        try:
            rule = MIXES[decoding["name"]]
            mixed = [rule(n, *rows, **decoding["parameters"]) for n, rows in enumerate(zip(*logits, strict=True))]
        except TypeError:  # other parameters, or another number of streams
            return Verdict(False, "decoding")
    return Rows(mixed, [b"".join(parts) for parts in zip(*heads, strict=True)], min(rooms))


def verify(receipt: dict[str, Any], model: Llama, tokenizer: Tokenizer, others: list[Llama] | None = None) -> Verdict:
    own, request, output = receipt["model"], receipt["request"], receipt["output"]
    for what, found in {
        "weights": model.digest,
        "tensors": len(model.file.tensors) - len(model.unused),
        "tokenizer": tokenizer.digest,
        "template": tokenizer.template,
        "ends": tokenizer.ends,
    }.items():
        if own[what] != found:
            raise CannotVerifyError(f"the receipt is of a model with other {what}")
    prompt, tokens, logprobs = request["prompt"], output["tokens"], output["logprobs"]
    if len(prompt) + len(tokens) > model.context:
        raise CannotVerifyError(f"prompt and output have more than the {model.context} tokens of the model's context")
    for what, several in (("prompt", prompt), ("token", tokens)):
        if beyond := [i for i, token in enumerate(several) if token >= model.vocabulary]:
            return Verdict(False, what, beyond[0])
    if logprobs is not None and len(logprobs) != len(tokens):
        raise CannotVerifyError(f"there are {len(logprobs)} log-probabilities for {len(tokens)} tokens")
    links = links_of(receipt["chain"])
    if len(links) != 32 * len(tokens):
        raise CannotVerifyError(f"the chain has {len(links)} bytes, not 32 for each of {len(tokens)} tokens")

    rows = rows_of(receipt, model, others or [])
    if isinstance(rows, Verdict):
        return rows
    logits = rows.logits
    below = Fraction(request["sampling"].get("stop_below", "0"))
    doubts = [unsure(row, below) for row in logits] if below else None
    bounded = "stop_mean_below" in request["sampling"]
    found = [log_probability(row, t) for row, t in zip(logits, tokens, strict=True)] if bounded else None
    n, finish, text = ending(receipt, model, tokenizer, doubts, rows.room, found)
    header = canonical({name: part for name, part in receipt.items() if name not in ("output", "chain", "layers")})
    link = sha256(b"intact-receipt-chain-1\n", sha256(header))
    parameters = request["sampling"]
    shares = (Fraction(parameters[name]) for name in ("top_p", "min_p", "typical_p"))
    sampling = Sampling(Fraction(parameters["temperature"]), parameters["top_k"], *shares)
    key = branch_key(int(parameters["seed"]), request["branch"])
    for i, (token, state) in enumerate(zip(tokens[:n], rows.states[:n], strict=True)):
        drew = drawn(logits[i], sampling, uniform64(key, len(prompt) + i))
        before, link = link, links[32 * i : 32 * i + 32]
        given, honest = (sha256(before, struct.pack("<i", t), state) for t in (token, drew))
        if link not in (given, honest):
            return Verdict(False, "hidden state", i)
        if token != drew:
            return Verdict(False, "token", i)
        if logprobs is not None and logprobs[i] != log_probability(logits[i], token):
            return Verdict(False, "logprobs", i)
    if (n, finish) != (len(tokens), output["finish"]):
        return Verdict(False, "finish", n)
    if text != output["text"]:
        return Verdict(False, "text")
    codec = PROFILES[receipt["numerics"]["profile"]]
    if "layers" in receipt and receipt["layers"] != commitment(model, [*prompt, *tokens[:-1]], codec):
        return Verdict(False, "layers")
    return Verdict(True, "")


def commitment(model: Llama, tokens: list[int], codec: Codec | None) -> dict[str, Any]:
    """The commitment to the rows between layers, as a receipt has it."""
    model.run(np.array(tokens), codec)
    roots = [
        tree_hash([sha256(b"\0", struct.pack("<II", b, p), row.astype("<i8").tobytes()) for p, row in enumerate(rows)])
        for b, rows in enumerate(model.boundaries)
    ]
    return {"count": model.layers, "root": tree_hash(roots).hex()}


def main() -> int:
    """0: all receipts are true; 1: one is false; 3: none is false, but one cannot be verified; as `intact verify`."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("receipts", type=Path, help="a file of receipts, one a line")
    arguments.add_argument("model", type=Path, help="the model's GGUF file")
    arguments.add_argument("others", type=Path, nargs="*", help="those of the further models of mixes")
    given = arguments.parse_args()
    try:
        file = Gguf(given.model)
        model, tokenizer = Llama(file), Tokenizer(file.metadata)
        others = [Llama(Gguf(path)) for path in given.others]
        lines = given.receipts.read_bytes().removesuffix(b"\n").split(b"\n")
    except (CannotVerifyError, OSError) as error:
        print(f"cannot verify: {error}", file=sys.stderr)
        return 3
    status = 0
    for number, line in enumerate(lines, 1):
        try:
            verdict = verify(parse(line), model, tokenizer, others)
            print(f"receipt {number}: {verdict}")
            status = status if verdict.true else 1
        except CannotVerifyError as error:
            print(f"receipt {number}: unverifiable: {error}")
            status = status or 3
    return status


if __name__ == "__main__":
    sys.exit(main())
