"""Run operations one by one, as the reference defines them and as a tier of the native kernels computes them.

A program's logits reveal an error of one unit in the last place in most operations, but not in values that are rounded
away inside an operation. Here, results are compared in full, for inputs so large that the last bit of every inner
function matters.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from intact import _native
from intact.executors.packing import pack
from intact.measure.conformance.synthetic import DIGESTED, random_bytes, random_floats, random_tensor
from intact.models.decoder import inverse_root
from intact.numerics import attention, rope
from intact.numerics.activations import block_sums, quantize
from intact.numerics.dequantize import dequantize
from intact.numerics.fixed import rshift, sat32
from intact.numerics.functions import exp2_neg
from intact.numerics.gate import GATES, Activation, gated
from intact.numerics.integers import INTEGER, LAYOUTS, TABLED, entries_of, from_bytes, shift_of, to_bytes
from intact.numerics.matmul import matmul
from intact.numerics.norm import Gain, make_gain, rmsnorm
from intact.numerics.rope import rotation
from intact.numerics.sampling import log_probability
from intact.numerics.weight_formats import BLOCK_FORMATS, FLOAT_FORMATS
from intact.numerics.weights import BlockWeight, from_blocks, from_floats

Ints = NDArray[np.int64]
LIMIT = (1 << 31) - 1


class Source(NamedTuple):
    """A matrix as stored in a file; `bits` is the number of bits to which floats are converted."""

    kind: str
    shape: tuple[int, int]
    data: NDArray[np.uint8]
    bits: int


class ReferenceKernels:
    """The reference definition: each operation on plain arrays; all results are integers."""

    def quantize(self, x: Ints, wide: bool) -> list[Ints]:
        """Return codes, scales, exponents, and the sums for minima of blocks of 32 and of 16, with their exponents."""
        a = quantize(x, 20 if wide else 16)
        return [np.asarray(part, np.int64) for part in (*a, *block_sums(a, 32), *block_sums(a, 16))]

    def matmul(self, x: Ints, weight: Source, bias: Ints) -> list[Ints]:
        """Multiply narrow rows; return a narrow result, and one added to a wide row."""
        if weight.kind == INTEGER:
            w = from_bytes(weight.data)
        elif weight.kind in FLOAT_FORMATS:
            w = from_floats(dequantize(weight.kind, weight.data, weight.shape), weight.bits)
        else:
            w = from_blocks(weight.kind, weight.data, weight.shape)
        a = quantize(x, 16)
        return [sat32(matmul(a, w, 16) + bias), matmul(a, w, 20) + bias + bias]

    def norm(self, x: Ints, gain: Gain) -> list[Ints]:
        """Normalise a wide row; return narrow and wide results."""
        return [np.asarray(rmsnorm(x[None], 20, gain, fraction)[0]) for fraction in (gain.fraction, 20)]

    def norm_head(self, x: Ints, gain: Gain) -> Ints:
        """Normalise a head."""
        return sat32(rmsnorm(x[None], 16, gain, 16)[0])

    def rotate(self, x: Ints, position: int, turns: NDArray[np.uint64], interleaved: bool) -> list[Ints]:
        """Return sines, cosines, and a head rotated by them."""
        sine, cosine = rope.sine_cosine(np.array([position]), turns)
        return [sine[0], cosine[0], rope.rotate(x[None, None], sine, cosine, interleaved)[0, 0]]

    def attend(
        self, query: Ints, scale: attention.Scale, keys: Ints, values: Ints, first: int, sink: int | None = None
    ) -> Ints:
        """Attend with one query to the positions from `first`, and a sink."""
        k, v = attention.quantize_keys(keys[first:]), attention.quantize_values(values[first:])
        return attention.attend(attention.quantize_query(query, scale), k, v, sink=sink)

    def gate(self, gate: Ints, up: Ints, kind: Activation) -> Ints:
        """Apply the activation and multiply."""
        return gated(gate, up, kind)

    def weights(self, logits: Ints, slope: int) -> Ints:
        """Return unnormalised probabilities."""
        gap = np.minimum(logits.max() - logits, (1 << 61) // slope)
        return exp2_neg(rshift(gap * slope, 30))

    def log_probability(self, logits: Ints, token: int) -> int:
        """Return the log-probability of a token."""
        return log_probability(logits, token)


class NativeKernels:
    """The same operations, computed by one tier of the native kernels."""

    def __init__(self, tier: str) -> None:
        self.tier, self.kernels = tier, _native.kernels

    def quantize(self, x: Ints, wide: bool) -> list[Ints]:
        """See `ReferenceKernels`."""
        blocks = -(-x.shape[1] // 32)
        a = self.kernels.quantize_wide(self.tier, x) if wide else self.kernels.quantize(self.tier, _narrow(x), 16)
        sums = [a.minima32[:, :blocks], a.minima32_exp, a.minima16[:, : 2 * blocks], a.minima16_exp]
        return [np.asarray(part, np.int64) for part in (a.codes, a.scale, a.exponent, *sums)]

    def matmul(self, x: Ints, weight: Source, bias: Ints) -> list[Ints]:
        """See `ReferenceKernels`."""
        if weight.kind == INTEGER:
            w = pack(from_bytes(weight.data))
        else:
            w = _native.convert(weight.kind, weight.data, *weight.shape, weight.bits)
        a = self.kernels.quantize(self.tier, _narrow(x), 16)
        narrow = np.zeros((len(x), weight.shape[0]), np.int32)
        wide = np.repeat(bias[None], len(x), axis=0)
        self.kernels.matmul(self.tier, w, a, narrow, 16, bias)
        self.kernels.matmul_wide(self.tier, w, a, wide, 20, True, bias)
        return [np.asarray(narrow, np.int64), wide]

    def norm(self, x: Ints, gain: Gain) -> list[Ints]:
        """See `ReferenceKernels`."""
        wide = np.zeros_like(x)
        self.kernels.norm_wide(self.tier, x, *gain, wide, False)
        return [self.kernels.norm(self.tier, x, *gain), wide]

    def norm_head(self, x: Ints, gain: Gain) -> Ints:
        """See `ReferenceKernels`."""
        return np.asarray(self.kernels.norm_head(self.tier, _narrow(x), *gain), np.int64)

    def rotate(self, x: Ints, position: int, turns: NDArray[np.uint64], interleaved: bool) -> list[Ints]:
        """See `ReferenceKernels`."""
        sine, cosine = self.kernels.sine_cosine(self.tier, position, turns)
        return [sine, cosine, self.kernels.rotate(self.tier, _narrow(x), sine, cosine, interleaved)]

    def attend(
        self, query: Ints, scale: attention.Scale, keys: Ints, values: Ints, first: int, sink: int | None = None
    ) -> Ints:
        """See `ReferenceKernels`."""
        cache = self.kernels.Cache(len(query), 16)
        for position, (key, value) in enumerate(zip(_narrow(keys), _narrow(values), strict=True)):
            cache.append(self.tier, key, value, position)
        span = np.array([first], np.int64), np.array([len(keys) - 1], np.int64)
        return np.asarray(cache.attend(self.tier, _narrow(query)[None], *span, *scale, sink=sink)[0], np.int64)

    def gate(self, gate: Ints, up: Ints, kind: Activation) -> Ints:
        """See `ReferenceKernels`."""
        return np.asarray(self.kernels.gate(self.tier, _narrow(gate), _narrow(up), GATES.index(kind)), np.int64)

    def weights(self, logits: Ints, slope: int) -> Ints:
        """See `ReferenceKernels`."""
        return np.asarray(self.kernels.weights(self.tier, _narrow(logits), slope)[0], np.int64)

    def log_probability(self, logits: Ints, token: int) -> int:
        """See `ReferenceKernels`."""
        return int(self.kernels.log_probability(self.tier, _narrow(logits), token))


Kernels: TypeAlias = ReferenceKernels | NativeKernels
"""The operations by the reference or by a native tier; both classes have the same methods."""


def _narrow(x: Ints) -> NDArray[np.int32]:
    return np.ascontiguousarray(x, np.int32)


def _integers(name: str, shape: tuple[int, ...], bits: int) -> Ints:
    """Draw integers of 1 to `bits` bits."""
    raw = random_bytes(name, 9 * int(np.prod(shape))).reshape(-1, 9)
    value = np.ascontiguousarray(raw[:, :8]).view("<i8").ravel() >> (63 - bits)
    return (value >> (raw[:, 8].astype(np.int64) % (bits + 1))).reshape(shape)


def _large(name: str, shape: tuple[int, ...], bits: int) -> Ints:
    """Draw integers of about `bits` bits."""
    raw = random_bytes(name, 8 * int(np.prod(shape))).view("<i8")
    return np.asarray(raw >> (63 - bits), np.int64).reshape(shape)


def _source(kind: str, rows: int, columns: int, bits: int = 8) -> Source:
    sizes = np.asarray(2.0 ** (np.arange(rows) % 16 - 8), np.float64)
    data = np.frombuffer(random_tensor(f"kernel|{kind}", kind, (rows, columns), sizes), np.uint8)
    return Source(kind, (rows, columns), data, bits)


def _layouts() -> Iterator[tuple[int, int, int]]:
    """Yield every layout of integer weights: bits, block, and the largest table entry, or 0 without a table.

    Tables with entries up to 255 need one product, others two.
    """
    for bits, blocks in LAYOUTS.items():
        yield from ((bits, block, 0) for block in blocks)
    for bits, blocks in TABLED.items():
        yield from ((bits, block, most) for block in blocks for most in (255, 1984, 32767))


def _integer_source(bits: int, block: int, most: int) -> Source:
    """Return a matrix with a given layout, with minima if its codes have an even number of bits."""
    rows, columns, padded, name = 35, 333, 352, f"layout {bits} {block} {most}"
    zero, table = 1 << (bits - 1), None
    if most:
        zero, drawn = most // 2, random_bytes(f"{name}|table", 2 * entries_of(bits)).view("<u2").astype(np.int64)
        table = (drawn % (most + 1)).astype(np.int16)
        table[:2] = 0, most
    codes = (random_bytes(f"{name}|codes", rows * padded) & np.uint8((1 << bits) - 1)).reshape(rows, padded)

    def scales(what: str) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
        scale = _integers(f"{name}|{what}", (rows, padded // block), 15)
        return scale.astype(np.int16), (np.arange(rows) % 7 - 24).astype(np.int32)

    scale, exponent = scales("scales")
    low, low_exponent = scales("minima") if bits % 2 == 0 else (None, None)
    shift = shift_of(bits, zero, table)
    weight = BlockWeight(codes, bits, block, zero, shift, table, scale, exponent, low, low_exponent, columns)
    return Source(INTEGER, (rows, columns), to_bytes(weight), 8)


def layout_results(kernels: Kernels) -> Iterator[tuple[str, list[Ints]]]:
    """Multiply by integer weights of every layout; yield results by name."""
    x = np.stack([_large(f"matmul {size}", (333,), size) for size in (12, 17, 20, 31)]).clip(-LIMIT, LIMIT)
    rows, bias = np.repeat(x, 3, axis=0) >> np.arange(12)[:, None], _large("bias", (35,), 20)
    for layout in _layouts():
        name = "matmul {} bits, blocks of {}, entries up to {}".format(*layout)
        yield name, kernels.matmul(rows, _integer_source(*layout), bias)


def results(kernels: Kernels) -> Iterator[tuple[str, list[Ints]]]:
    """Run every operation; yield results by name."""
    narrow = np.concatenate([_large(f"rows {bits}", (1, 301), bits) for bits in (3, 10, 19, 21, 30, 31)])
    yield "quantize", kernels.quantize(np.clip(narrow, -LIMIT, LIMIT), False)
    yield "quantize wide", kernels.quantize(_large("wide rows", (6, 301), 50) >> np.arange(0, 48, 8)[:, None], True)
    kinds = [(kind, 8) for kind in DIGESTED] + [(kind, bits) for kind in FLOAT_FORMATS for bits in (8, 4)]
    for kind, bits in kinds:
        columns = 333 if kind in FLOAT_FORMATS else 768 if BLOCK_FORMATS[kind].values == 256 else 544
        x = np.stack([_large(f"matmul {size}", (columns,), size) for size in (12, 17, 20, 31)]).clip(-LIMIT, LIMIT)
        yield f"matmul {kind} {bits}", kernels.matmul(x, _source(kind, 35, columns, bits), _large("bias", (35,), 20))
    for n in (1, 96, 1000):
        gain = make_gain(random_floats("gain", (n,), 0.5) + np.float32(1), 1e-5)
        for bits in (1, 12, 21, 30, 55):
            yield f"norm {n} {bits}", kernels.norm(_large(f"norm {n}", (n,), bits), gain)
        x = _large(f"head {n}", (n,), 24)
        yield f"norm of heads {n}", [kernels.norm_head(x >> s, gain) for s in range(0, 24, 4)]
    turns = rotation(500000.0, 64, {})
    heads = _large("rotate", (80,), 31).clip(-LIMIT, LIMIT)
    for position in (0, 1, 77, 4096, 524287):
        for interleaved in (False, True):
            yield f"rotate {position} {interleaved}", kernels.rotate(heads, position, turns, interleaved)
    for width in (24, 64, 512):
        keys, values = _integers("keys", (67, width), 24), _large("values", (67, width), 31)
        for factor in (1, 8):
            scale = attention.score_scale(inverse_root(width) * factor)
            for bits in (0, 14, 18):
                out = [
                    kernels.attend(_large(f"query {bits}", (width,), bits), scale, keys, values, first)
                    for first in (0, 37)
                ]
                yield f"attend {width} {factor} {bits}", out
        query, scale = _large("query sink", (width,), 17), attention.score_scale(inverse_root(width))
        for sink in (-(1 << 20), 0, 1 << 18, 1 << 20, 1 << 21, LIMIT):
            yield f"attend {width} with a sink of {sink}", [kernels.attend(query, scale, keys, values, 0, sink)]
    values = np.full((5, 24), 16253)  # scales of 8191: weights round to 4096, then are limited to 4095
    scale = attention.score_scale(inverse_root(24))
    yield "attend, largest weights", [kernels.attend(keys[0, :24], scale, np.zeros_like(values), values, 0)]
    gates, up = _integers("gate", (999,), 31).clip(-LIMIT, LIMIT), _large("up", (999,), 31).clip(-LIMIT, LIMIT)
    spread = np.arange(-1200, 1200) * 999
    for kind in GATES:
        yield f"gate {kind}", [kernels.gate(gates, up, kind), kernels.gate(spread, np.full_like(spread, LIMIT), kind)]
    logits = _large("logits", (1500,), 20)
    for slope in (1, 1549082, 1549082005, 1936352506, 1 << 50):
        yield f"weights {slope}", [kernels.weights(logits, slope)]
    yield "log-probability", [np.array([kernels.log_probability(logits, token) for token in range(0, 1500, 50)])]
