"""Synthetic programs that cover every operation and weight format, with awkward shapes and sums at their bounds.

All numbers come from SHAKE-128 over a name, so they are the same everywhere, with every version of every library.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact.checkpoints.formats import Tensor
from intact.models.aspects.op import Op
from intact.models.aspects.step import SequenceChunk
from intact.models.aspects.tables import Buffer
from intact.models.decoder import inverse_root
from intact.models.ops import (
    Adapt,
    Attend,
    Convolve,
    ConvolveSilu,
    Embed,
    Expert,
    Experts,
    Gate,
    GatedDelta,
    GatedRecurrence,
    Gather,
    Linear,
    Logits,
    LowRank,
    Multiply,
    Norm,
    Rope,
    Scan,
    Scatter,
    SelectiveScan,
    Steer,
    Target,
    TrapezoidalScan,
)
from intact.models.program import Program
from intact.numerics.experts import ExpertWeights
from intact.numerics.gate import GATES, Activation
from intact.numerics.integers import INTEGER, to_bytes
from intact.numerics.rope import rotation
from intact.numerics.weight_formats import BLOCK_FORMATS, FLOAT_FORMATS
from intact.numerics.weights import InputIndex, from_floats

Bytes = NDArray[np.uint8]

PAGE = 16
TOKENS = 23  # rows of the synthetic embeddings; the rows differ in size by powers of two

DIGESTED = sorted(
    (name for name, form in BLOCK_FORMATS.items() if form.digest_place is not None),
    key=lambda name: BLOCK_FORMATS[name].digest_place or 0,
)
"""Block formats in the operations digest, in its order."""


def random_bytes(name: str, count: int) -> Bytes:
    """Return the random bytes for a name."""
    return np.frombuffer(hashlib.shake_128(name.encode()).digest(count), np.uint8)


def random_floats(name: str, shape: tuple[int, ...], size: float | NDArray[np.floating]) -> NDArray[np.float32]:
    """Draw sums of four uniform bytes: nearly normal, with a root mean square of `size`, which may differ by row."""
    count = int(np.prod(shape))
    total = random_bytes(name, 4 * count).reshape(count, 4).astype(np.int64).sum(axis=1) - 510
    sizes = np.repeat(np.ravel(size), count // np.size(size))
    values: NDArray[np.float32] = (total * (sizes / 147.8)).astype(np.float32)
    return values.reshape(shape)


def _float_bytes(x: NDArray[np.float32], kind: str = "F32") -> bytes:
    if kind == "BF16":
        return (x.view(np.uint32) >> 16).astype("<u2").tobytes()
    return x.astype("<f4" if kind == "F32" else "<f2").tobytes()


def random_tensor(name: str, kind: str, shape: tuple[int, ...], size: float | NDArray[np.floating]) -> bytes:
    """Draw a matrix's bytes in any format: finite, with a root mean square of about `size`, which may differ by row."""
    if kind in FLOAT_FORMATS:
        return _float_bytes(random_floats(name, shape, size), kind)
    spec = BLOCK_FORMATS[kind]
    blocks = int(np.prod(shape)) // spec.values
    data = random_bytes(name, blocks * spec.size).reshape(blocks, spec.size).copy()
    spread = random_bytes(name + "|scale", 2 * blocks).reshape(blocks, 2).astype(np.float64)
    sizes = np.repeat(np.ravel(size), blocks // np.size(size))
    scale = sizes / spec.spread * (0.5 + spread[:, 0] / 256) * np.where(spread[:, 1] < 32, -1, 1)
    if spec.scale_at is None:
        data[:, 0] = 127 + np.frexp(np.abs(scale) * 1.4142135623730951)[1]
    for i, half in enumerate(spec.halves):
        half.write(data, (scale * (spec.typical_minimum if i else 1)).astype(np.float16).view(np.uint16))
    return data.tobytes()


class Step(NamedTuple):
    """One call of an executor: chunks of sequences, and the rows whose logits are requested."""

    chunks: tuple[SequenceChunk, ...]
    wanted: NDArray[np.int64]


class Case(NamedTuple):
    """A program and the steps to run it with; `bits` is the number of bits to which float matrices are converted."""

    name: str
    program: Program
    steps: tuple[Step, ...]
    pages: int
    bits: int = 8


class _Builder:
    """Collects buffers, tensors and operations under short names."""

    def __init__(self, name: str, kv_heads: int = 1, head_width: int = 16) -> None:
        self.name, self.kv_heads, self.head_width = name, kv_heads, head_width
        self.buffers: dict[str, Buffer] = {}
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []
        self.rotations: list[NDArray[np.uint64]] = []
        self.layers = 0

    def buffer(self, name: str, width: int, wide: bool = False) -> str:
        self.buffers[name] = Buffer(width, wide)
        return name

    def tensor(self, name: str, kind: str, shape: tuple[int, ...], data: bytes) -> str:
        self.tensors[name] = Tensor(name, kind, shape, np.frombuffer(data, np.uint8))
        return name

    def matrix(self, name: str, kind: str, rows: int, columns: int, size: float | NDArray[np.floating] = 1.0) -> str:
        scaled = np.asarray(np.asarray(size) / columns**0.5, np.float64)
        return self.tensor(
            name, kind, (rows, columns), random_tensor(f"{self.name}|{name}", kind, (rows, columns), scaled)
        )

    def vector(self, name: str, length: int, mean: float, size: float) -> str:
        x = random_floats(f"{self.name}|{name}", (length,), size) + np.float32(mean)
        return self.tensor(name, "F32", (length,), _float_bytes(x.astype(np.float32), "F32"))

    def embed(self, width: int, kind: str = "F32", low: int = -19, scale: Fraction = Fraction(1)) -> None:
        """Embed rows whose size doubles from 2^low: small rows reveal single units, large ones saturate."""
        sizes = 2.0 ** (low + np.arange(TOKENS))
        data = random_tensor(f"{self.name}|embed", kind, (TOKENS, width), sizes)
        self.tensor("embed", kind, (TOKENS, width), data)
        self.ops.append(Embed(self.buffer("x", width, wide=True), "embed", scale))

    def linear(self, source: str, kind: str, *targets: tuple[str, int], bias: float = 0.0, wide: bool = False) -> None:
        """Multiply a buffer by random matrices into others, given by name with their widths."""
        made = []
        for target, width in targets:
            self.buffer(target, width, wide)
            weight = self.matrix(f"{target}.{len(self.tensors)}", kind, width, self.buffers[source].width)
            stem = f"{target}.bias.{len(self.tensors)}"
            made.append(Target(target, weight, self.vector(stem, width, 0.0, bias) if bias else None))
        self.ops.append(Linear(source, tuple(made)))

    def logits(self, source: str, kind: str = "F16", rows: int = 29, cap: Fraction = Fraction(0)) -> None:
        """Append a head whose rows differ in size from 1 to 16, so that a unit of the source is visible."""
        columns = self.buffers[source].width
        sizes = 2.0 ** (np.arange(rows) % 5) * columns**0.5
        self.ops.append(Logits(source, self.matrix("head", kind, rows, columns, sizes), cap))

    def rotation(self, base: float, width: int) -> int:
        self.rotations.append(rotation(base, width, {}))
        return len(self.rotations) - 1

    def case(self, steps: Sequence[Step], pages: int = 8, bits: int = 8) -> Case:
        program = Program(
            architecture="synthetic",
            buffers=self.buffers,
            ops=tuple(self.ops),
            tensors=self.tensors,
            rotations=tuple(self.rotations),
            layers=self.layers,
            kv_heads=self.kv_heads,
            head_width=self.head_width,
            vocabulary=self.tensors["embed"].shape[0],
            context=1 << 19,
        )
        return Case(self.name, program, tuple(steps), pages, bits)


def _chunk(position: int, tokens: Sequence[int], pages: Sequence[int], adapter: int = -1) -> SequenceChunk:
    return SequenceChunk(position, np.array(tokens, np.int32), np.array(pages, np.int32), adapter=adapter)


def _step(*chunks: SequenceChunk) -> Step:
    return Step(chunks, np.arange(sum(len(chunk.tokens) for chunk in chunks), dtype=np.int64))


ALL_TOKENS = _step(_chunk(0, range(TOKENS), (0, 1)))


def _two_sequences(count: int = TOKENS) -> list[Step]:
    """Run a prompt in two chunks alongside another one, with pages out of order; then one token of each."""
    mix = [(7 * i + 3) % count for i in range(30)]
    first, second = (3, 1, 6), (5, 0)
    return [
        _step(_chunk(0, mix[:11], first)),
        _step(_chunk(11, mix[11:28], first), _chunk(0, mix[5:22], second)),
        _step(_chunk(28, [mix[28]], first), _chunk(17, [mix[29]], second)),
    ]


def _matrix(kind: str, bits: int) -> Case:
    """Embed and multiply in one format: three groups of blocks, the last one full, and an odd number of outputs."""
    columns = 523 if kind in FLOAT_FORMATS else 768 if BLOCK_FORMATS[kind].values == 256 else 544
    b = _Builder(f"matrix {kind} {bits}")
    b.embed(columns, kind, low=-14, scale=Fraction(5, 3))
    b.linear("x", kind, ("y", 37), bias=0.01)
    b.logits("y")
    return b.case([ALL_TOKENS, _step(_chunk(0, [9], (2,)))], bits=bits)


def _extreme(kind: str, columns: int) -> Case:
    """Use maximal codes, scales and minima of one sign over as many columns as possible, to reach every sum's bound."""
    b = _Builder(f"extreme {kind}")
    top = np.float32(127 * 8191 / 2**20)  # quantises to codes of 127 under a scale of 8191
    ramp = np.where(np.arange(columns) % 2, top, -top)
    table = np.stack([np.full(columns, top), np.full(columns, -top), ramp]).astype(np.float32)
    b.tensor("embed", "F32", table.shape, _float_bytes(table, "F32"))
    b.ops.append(Embed(b.buffer("x", columns, wide=True), "embed"))
    spec = BLOCK_FORMATS[kind]
    size = np.full((3, columns // spec.values), 2047 / 2**17, np.float16).view(np.uint16)
    blocks = np.zeros((3, columns // spec.values, spec.size), np.uint8)
    blocks[1] = 0xFF
    blocks[2, :, : spec.size // 2] = 0xFF
    for half in spec.halves:
        half.write(blocks, size)
    if kind == "Q8_0":
        blocks[0, :, 2:] = 0x80
    b.tensor("w", kind, (3, columns), blocks.tobytes())
    b.ops.append(Linear("x", (Target(b.buffer("y", 3), "w"),)))
    b.logits("y")
    return b.case([_step(_chunk(0, range(3), (0,)))])


def _norms() -> Iterator[Case]:
    for width in (1, 96, 1000):
        b = _Builder(f"norm {width}")
        b.embed(width)
        b.ops.append(Norm("x", b.buffer("normed", width), b.vector("gain", width, 1.0, 0.5), 1e-5))
        b.logits("normed")
        yield b.case([ALL_TOKENS])
    b = _Builder("norm accumulated")
    b.embed(100, low=-15)
    b.linear("x", "F32", ("result", 100), wide=True)
    b.ops.append(Norm("result", "x", b.vector("gain", 100, 0.0, 2.0), 1e-6, accumulate=True, offset=1.0))
    b.linear("x", "F32", ("y", 41))
    b.logits("y")
    yield b.case([ALL_TOKENS])
    b = _Builder("norm of heads")
    b.embed(64)
    b.linear("x", "F32", ("q", 5 * 24))
    b.ops.append(Norm("q", "q", b.vector("gain", 24, 1.0, 0.5), 1e-6, heads=5))
    b.logits("q")
    yield b.case([ALL_TOKENS])
    b = _Builder("norm of groups")
    b.embed(3 * 37, low=-15)
    normed, gain = b.buffer("normed", 3 * 37), b.vector("gain", 3 * 37, 1.0, 0.5)
    b.ops.append(Norm("x", normed, gain, 1e-5, groups=3))
    b.linear("normed", "F32", ("result", 60), wide=True)
    b.ops.append(Norm("result", b.buffer("y", 60, wide=True), b.vector("other", 60, 0.0, 2.0), 1e-6, groups=4))
    b.logits("y")
    yield b.case([ALL_TOKENS])


def _ropes() -> Iterator[Case]:
    for interleaved in (False, True):
        b = _Builder(f"rope {'interleaved' if interleaved else 'halves'}")
        b.embed(64)
        b.linear("x", "F32", ("q", 3 * 40))
        b.ops.append(Rope("q", b.rotation(500000.0, 40 if interleaved else 24), 3, 40, interleaved))
        b.logits("q")
        far = [_chunk(position, [5, 17, 20], [0] * (position // PAGE + 2)) for position in (1000, 262143, 524285)]
        yield b.case([ALL_TOKENS, _step(*far)])


def _gates() -> Iterator[Case]:
    for kind in GATES:
        b = _Builder(f"gate {kind}")
        b.embed(64)
        b.linear("x", "F32", ("gate", 77), ("up", 77), bias=1.5)
        b.ops.append(Gate("gate", "up", b.buffer("hidden", 77, wide=True), kind))
        b.linear("hidden", "F32", ("y", 41))
        b.logits("y")
        yield b.case([ALL_TOKENS])


def _layer_norms() -> Iterator[Case]:
    """Build norms of rows minus their mean, with or without bias, to narrow or wide rows; ungated activations."""
    for width in (1, 100):
        b = _Builder(f"layer norm {width}")
        b.embed(width)
        bias = b.vector("bias", width, 1.0, 2.0)
        b.ops.append(
            Norm("x", b.buffer("normed", width), b.vector("gain", width, 1.0, 0.5), 1e-5, centered=True, bias=bias)
        )
        b.linear("normed", "F32", ("gate", 77), bias=1.5)
        b.ops.append(Gate("gate", None, b.buffer("hidden", 77, wide=True), "gelu"))
        b.logits("hidden")
        yield b.case([ALL_TOKENS])
    b = _Builder("layer norm accumulated")
    b.embed(64, low=-15)
    b.linear("x", "F32", ("result", 64), wide=True)
    b.ops.append(
        Norm("result", "x", b.vector("gain", 64, 0.0, 2.0), 1e-6, accumulate=True, factor=Fraction(1, 3), centered=True)
    )
    b.linear("x", "F32", ("y", 41))
    b.logits("y")
    yield b.case([ALL_TOKENS])


class _Mixture(NamedTuple):
    """One mixture: weights and activation, experts in total and per row, groups in total and per row, and options."""

    kind: ExpertWeights
    activation: Activation
    experts: int
    used: int
    groups: int = 1
    groups_used: int = 1
    ends: str = ""
    gated: bool = True
    biased: bool = False
    scaled: bool = False


def _experts() -> Iterator[Case]:
    """Build mixtures with each kind of weights, biases and scales; two experts share a router row, causing ties."""
    mixtures = (
        _Mixture("softmax", "silu", 7, 3),
        _Mixture("softmax of chosen", "gelu", 6, 2),
        _Mixture("sigmoid", "silu", 1, 1),
        _Mixture("softmax", "swiglu_oai", 5, 2, ends=" swiglu_oai"),
        _Mixture("sigmoid of chosen", "silu", 6, 3, biased=True),
        _Mixture("softmax", "silu", 8, 3, 4, 2, " groups"),
        _Mixture("sigmoid of chosen", "silu", 9, 3, 3, 1, " groups", biased=True),
        _Mixture("sigmoid of chosen", "relu", 6, 2, ends=" squared", gated=False, biased=True),
        _Mixture("softmax of chosen", "silu", 7, 3, ends=" biased", biased=True, scaled=True),
        _Mixture("softmax", "gelu", 8, 3, 4, 2, " groups biased", biased=True, scaled=True),
    )
    for kind, activation, count, used, groups, groups_used, ends, gated, biased, scaled in mixtures:
        b = _Builder(f"experts {kind}{ends}")
        width, hidden = 64, 80
        b.embed(width, low=-12)
        b.ops.append(Norm("x", b.buffer("normed", width), b.vector("gain", width, 1.0, 0.5), 1e-5))
        router = random_floats(f"{b.name}|router", (count, width), 0.5)
        router[count // 2] = router[0]
        b.tensor("router", "F32", router.shape, _float_bytes(router, "F32"))
        b.ops.append(Linear("normed", (Target(b.buffer("scores", count), "router"),)))
        experts = []
        for e in range(count):
            first, *others = (
                b.matrix(f"{name}.{e}", stored, *shape)
                for name, stored, shape in (
                    *((("gate", "Q4_1", (hidden, width)),) if gated else ()),
                    ("up", "Q8_0", (hidden, width)),
                    ("down", "F16", (width, hidden)),
                )
            )
            matrices = (first, *others) if gated else (first, first, *others)
            biases = [
                b.vector(f"{name}.bias.{e}", size, 0.0, 0.5)
                for name, size in (("gate", hidden), ("up", hidden), ("down", width))
            ]
            experts.append(Expert(*matrices, *(biases if kind == "softmax" else ())))
        target = "x" if kind != "softmax" else b.buffer("result", width, wide=True)
        bias = b.vector("choice.bias", count, 0.0, 0.2) if biased else None
        scales = b.vector("scales", count, 1.0, 1.5) if scaled else None
        b.ops.append(
            Experts(
                "normed",
                "scores",
                target,
                tuple(experts),
                used,
                hidden,
                activation,
                kind,
                Fraction(5, 2),
                target == "x",
                bias,
                groups,
                groups_used,
                scales,
            )
        )
        b.linear(target, "F32", ("y", 41))
        b.logits("y")
        yield b.case([ALL_TOKENS, _step(_chunk(0, [9], (2,)))])


def _adapters() -> Iterator[Case]:
    """Run sequences with no adapter, one of rank 5 and one of rank 16, which changes a wide result too."""
    b = _Builder("adapters")
    width = 64
    b.embed(width, low=-12)
    b.ops.append(Norm("x", b.buffer("normed", width), b.vector("gain", width, 1.0, 0.5), 1e-5))
    b.linear("normed", "Q4_1", ("y", 41), bias=0.5)

    def change(number: int, rank: int, columns: int, rows: int) -> LowRank:
        down = b.matrix(f"down.{number}.{len(b.tensors)}", "F32", rank, columns)
        return LowRank(down, b.matrix(f"up.{number}.{len(b.tensors)}", "F32", rows, rank, 3.0))

    b.ops.append(Adapt("normed", "y", (change(0, 5, width, 41), change(1, 16, width, 41))))
    weight = b.matrix("back", "Q8_0", width, 64)
    b.ops.append(Gate("y", None, b.buffer("hidden", 41, wide=True), "silu"))
    b.linear("hidden", "F16", ("z", 64))
    b.ops.append(Linear("z", (Target("x", weight, accumulate=True),)))
    b.ops.append(Adapt("z", "x", (None, change(1, 16, 64, width))))
    b.ops.append(Steer("x", (b.vector("direction", width, 0.0, 4.0), None)))
    b.linear("x", "F32", ("last", 41))
    b.logits("last")
    tokens = range(0, TOKENS, 3)
    chunks = [_chunk(0, tokens, (page,), adapter) for page, adapter in enumerate((1, -1, 0, 1))]
    yield b.case([_step(*chunks), _step(_chunk(0, range(TOKENS), (4, 5), 0)), _step(_chunk(0, [7], (6,), 1))])


def _multiplied() -> Iterator[Case]:
    """Multiply rows by a number from the checkpoint in place, and some columns by a constant into narrow rows."""
    b = _Builder("multiplied rows")
    b.embed(96, low=-12)
    b.ops.append(Multiply("x", "x", b.vector("scalar", 1, 0.3, 0.2)))
    b.ops.append(Multiply("x", b.buffer("part", 37), None, Fraction(-7, 3), start=41))
    b.ops.append(Multiply("x", b.buffer("large", 96, wide=True), b.vector("other", 1, 40.0, 10.0), Fraction(5, 4)))
    b.linear("part", "F16", ("y", 41))
    b.linear("large", "F16", ("z", 41))
    b.ops.append(Gate("y", "z", b.buffer("hidden", 41, wide=True), "silu"))
    b.linear("hidden", "F32", ("last", 41))
    b.logits("last")
    yield b.case([ALL_TOKENS])


def _gathers() -> Iterator[Case]:
    """Gather columns in any order, some repeatedly, some never, and zeros, from rows with every exponent."""
    for source, wide in (("normed", False), ("x", True)):
        name = f"gather {source}"
        b = _Builder(name)
        b.embed(96, low=-15)
        b.ops.append(Norm("x", b.buffer("normed", 96), b.vector("gain", 96, 1.0, 0.5), 1e-5))
        index = random_bytes(f"{name}|index", 150).astype(np.int32) % 97 - 1
        weight = from_floats(random_floats(f"{name}|w", (37, 150), 150**-0.5), 8)
        data = to_bytes(weight._replace(inputs=InputIndex(index, 96)))
        b.tensor("w", INTEGER, (37, 150), data.tobytes())
        b.ops.append(Gather(source, b.buffer("picked", 150, wide), "w"))
        b.ops.append(Linear("picked", (Target(b.buffer("y", 37), "w"),)))
        b.logits("y")
        yield b.case([ALL_TOKENS])


def outlier_cases() -> Iterator[Case]:
    """Yield products whose weights have separate two-digit outliers, as the quantiser `llm_int8` stores them."""
    for source, wide in (("normed", False), ("x", True)):
        name = f"outliers {source}"
        b = _Builder(name)
        b.embed(96, low=-15)
        b.ops.append(Norm("x", b.buffer("normed", 96), b.vector("gain", 96, 1.0, 0.5), 1e-5))
        apart = np.full(64, -1)
        apart[:40] = random_bytes(name, 96 * 2).view("<u2").argsort(kind="stable")[:40]
        own = np.arange(96)
        own[apart[apart >= 0]] = -1
        index = np.concatenate([own, apart, apart]).astype(np.int32)
        columns = len(index)
        weight = from_floats(random_floats(f"{name}|w", (37, columns), columns**-0.5), 8)
        data = to_bytes(weight._replace(inputs=InputIndex(index, 96)))
        b.tensor("w", INTEGER, (37, columns), data.tobytes())
        b.ops.append(Gather(source, b.buffer("picked", columns, wide), "w"))
        b.ops.append(Linear("picked", (Target(b.buffer("y", 37), "w"),)))
        b.logits("y")
        yield b.case([ALL_TOKENS])


def _scatters() -> Iterator[Case]:
    """Build the keys of latent attention from a per-head and a shared part, and values padded with zeros."""
    heads, part, shared, value = 3, 12, 8, 10
    whole = part + shared
    b = _Builder("scatter", heads, whole)
    b.embed(64)
    q, own, values = heads * whole, heads * part, heads * value
    b.linear("x", "F32", ("queries", q), ("row", 5 + shared), ("own", own), ("values", values), bias=0.5)
    for name in ("q", "k", "v", "o"):
        b.buffer(name, q)
    rotation = b.rotation(1e4, shared)
    b.ops += [
        Scatter("queries", "q", heads, shared, whole, part, whole),
        Scatter("queries", "q", heads, part, whole, 0, whole, shared, keep=True),
        Rope("q", rotation, heads, whole, True),
        Scatter("row", b.buffer("turned", shared), 1, shared, source_start=5),
        Rope("turned", rotation, 1, shared, True),
        Scatter("turned", "k", heads, shared, 0, 0, whole),
        Scatter("own", "k", heads, part, part, 0, whole, shared, keep=True),
        Scatter("values", "v", heads, value, value, 0, whole),
        Attend("q", "k", "v", "o", 0, heads, heads, whole, inverse_root(whole)),
        Scatter("o", "values", heads, value, whole, 0, value),
    ]
    b.layers = 1
    b.linear("values", "F16", ("y", 41))
    b.logits("y")
    yield b.case(_two_sequences())


def _attention() -> Iterator[Case]:
    shapes = ((3, 1, 24, 0), (4, 2, 40, 5), (6, 6, 16, 0), (9, 1, 64, 17), (1, 1, 512, 0))
    caps = {(4, 2, 40, 5): Fraction(5), (6, 6, 16, 0): Fraction(3, 2)}
    sunk = (4, 2, 40, 5), (9, 1, 64, 17), (6, 6, 16, 0)
    plain = ((shape, Fraction(0), False) for shape in shapes)
    capped = ((shape, cap, False) for shape, cap in caps.items())
    with_sinks = ((shape, Fraction(0), True) for shape in sunk)
    for shape, cap, sink in (*plain, *capped, *with_sinks):
        heads, kv_heads, width, window = shape
        named = f"attention {heads} {kv_heads} {width} {window}"
        b = _Builder(f"{named} capped" if cap else f"{named} sinks" if sink else named, kv_heads, width)
        b.embed(64)
        sinks = b.vector("sinks", heads, 0.0, 40.0) if sink else None
        b.linear("x", "F32", ("q", heads * width), ("k", kv_heads * width), ("v", kv_heads * width), bias=0.5)
        scale = inverse_root(width) * (8 if window else 1)
        out = b.buffer("o", heads * width)
        b.ops.append(Attend("q", "k", "v", out, 0, heads, kv_heads, width, scale, window, cap, sinks))
        b.layers = 1
        b.logits("o", cap=cap and 1000 * cap)
        steps = _two_sequences()
        if window:
            steps.append(_step(_chunk(1 << 18, range(10, 20), [7] * ((1 << 18) // PAGE) + [4])))
        yield b.case(steps)


def _convolutions() -> Iterator[Case]:
    """Build convolutions over 3, 4 and 1 positions, in sequence and between attentions, with rows that saturate."""
    for taps, size in ((3, 1.0), (4, 60.0), (1, 1.0)):
        b = _Builder(f"convolution {taps}")
        width = 72
        b.embed(width)
        for i in range(2):
            b.linear("x" if i == 0 else "convolved", "F32", ("parts", 3 * width), bias=1.5)
            weight = b.matrix(f"taps.{i}", "F32", width, taps, size * taps**0.5)
            b.ops.append(Convolve("parts", b.buffer("convolved", width, wide=True), weight, i, width, taps))
            if taps == 4 and i == 0:
                b.linear("convolved", "F32", ("q", 32), ("k", 16), ("v", 16))
                b.ops.append(Attend("q", "k", "v", b.buffer("o", 32), 0, 2, 1, 16, inverse_root(16)))
                b.ops.append(Linear("o", (Target("convolved", b.matrix("o.0", "F32", width, 32)),)))
                b.layers = 1
        b.linear("convolved", "F32", ("y", 41))
        b.logits("y")
        yield b.case([*_two_sequences(), ALL_TOKENS])


def _cut_text() -> list[Step]:
    """Run a sequence of 150 tokens in chunks across block boundaries, with another one alongside."""
    text, pages = [(7 * i + i * i // 3 + 3) % TOKENS for i in range(150)], [0, 5, 1, 9, 4, 2, 3, 8, 6, 7]
    cuts = (0, 50, 51, 91, 128, 150)
    other = _chunk(0, text[20:90], range(10, 15))
    steps = [_step(_chunk(start, text[start:end], pages)) for start, end in pairwise(cuts)]
    steps[2] = _step(other, *steps[2].chunks)
    return steps


def _scans() -> Iterator[Case]:
    """Build two consecutive state-space layers: groups, few taps, slow and fast heads, and sums at their bounds."""
    shapes = ((6, 8, 2, 24, 4, 1.0), (3, 20, 1, 16, 3, 1.0), (1, 4, 1, 256, 4, 3000.0), (4, 2, 4, 1, 1, 40.0))
    for heads, width, groups, states, taps, size in shapes:
        b = _Builder(f"scan {heads} {width} {groups} {states} {taps}")
        inner, both = heads * width, groups * states
        decays = -(2.0 ** np.arange(-9, 4, 13 / heads)) * (size < 100)
        b.embed(40)
        for i in range(2):
            channels = inner + 2 * both
            mixed = ("mixed", channels), ("steps", heads), ("z", inner)
            b.linear("x" if i == 0 else "gated", "F32", *mixed, bias=0.5 * size)
            parameters = (
                b.matrix(f"taps.{i}", "F32", channels, taps, min(size, 40.0) * taps**0.5),
                None if taps == 1 else b.vector(f"bias.{i}", channels, 0.0, 0.5),
                b.vector(f"step_bias.{i}", heads, 30.0 if size > 100 else -2.0, 2.0),
                b.tensor(f"decay.{i}", "F32", (heads,), _float_bytes(decays.astype(np.float32))),
                b.vector(f"skip.{i}", heads, 1.0, 0.5),
            )
            scanned = b.buffer("scanned", inner)
            b.ops.append(Scan("mixed", "steps", scanned, *parameters, i, heads, width, groups, states, taps))
            b.ops.append(Gate("z", "scanned", b.buffer("gated", inner, wide=True), "silu"))
        b.linear("gated", "F32", ("y", 41))
        b.logits("y")
        yield b.case(_cut_text(), pages=15)
    b = _Builder("scan units")  # the head reveals each unit
    b.embed(40)
    b.linear("x", "F32", ("mixed", 12 + 2 * 8), ("steps", 3))
    kernel, offset = b.matrix("taps", "F32", 28, 4, 4.0), b.vector("bias", 28, 0.0, 2.0**-16)
    steps_of = b.vector("step_bias", 3, -1.0, 1.0)
    decay = b.tensor("decay", "F32", (3,), _float_bytes(np.array([-0.01, -0.5, -4.0], np.float32)))
    skip = b.vector("skip", 3, 3.0, 0.5)
    b.ops.append(Scan("mixed", "steps", b.buffer("y", 12), kernel, offset, steps_of, decay, skip, 0, 3, 4, 1, 8, 4))
    b.logits("y")
    yield b.case([*_two_sequences(), ALL_TOKENS])


def _deltas() -> Iterator[Case]:
    """Build two consecutive layers with the gated delta rule: shared keys, slow and fast heads, values at bounds."""
    shapes = ((6, 8, 2, 24, 4, 1.0), (4, 12, 2, 16, 3, 1.0), (1, 4, 1, 256, 4, 3000.0), (2, 3, 2, 1, 1, 4.0))
    for heads, width, groups, states, taps, size in shapes:
        b = _Builder(f"delta {heads} {width} {groups} {states} {taps}")
        inner, channels = heads * width, heads * width + 2 * groups * states
        decays = -(2.0 ** np.arange(-9, 4, 13 / heads)) * (size < 100)
        b.embed(40)
        for i in range(2):
            source = "x" if i == 0 else "gated"
            b.linear(source, "F32", ("mixed", channels), ("steps", heads), bias=0.5 * size)
            b.linear(source, "F32", ("beta", heads), ("z", inner), bias=0.5)
            parameters = (
                b.matrix(f"taps.{i}", "F32", channels, taps, min(size, 40.0) * taps**0.5),
                b.vector(f"step_bias.{i}", heads, -2.0, 2.0),
                b.tensor(f"decay.{i}", "F32", (heads,), _float_bytes(decays.astype(np.float32))),
            )
            target, sizes = b.buffer("found", inner), (heads, width, groups, states, taps)
            b.ops.append(GatedDelta("mixed", "steps", "beta", target, *parameters, i, *sizes, tiled=taps == 3))
            b.ops.append(Gate("z", "found", b.buffer("gated", inner, wide=True), "sigmoid"))
        b.linear("gated", "F32", ("y", 41))
        b.logits("y")
        yield b.case(_cut_text(), pages=15)
    b = _Builder("delta units")  # the head reveals each unit
    b.embed(40)
    b.linear("x", "F32", ("mixed", 12 + 2 * 8), ("steps", 3), ("beta", 3))
    kernel, steps_of = b.matrix("taps", "F32", 28, 4, 4.0), b.vector("step_bias", 3, -1.0, 1.0)
    decay = b.tensor("decay", "F32", (3,), _float_bytes(np.array([-0.01, -0.5, -4.0], np.float32)))
    b.ops.append(GatedDelta("mixed", "steps", "beta", b.buffer("y", 12), kernel, steps_of, decay, 0, 3, 4, 1, 8, 4))
    b.logits("y")
    yield b.case([*_two_sequences(), ALL_TOKENS])


def _selective_scans() -> Iterator[Case]:
    """Build two consecutive selective scans: few taps and states, slow and fast ones, a norm, values at bounds."""
    for channels, states, taps, size in ((40, 16, 4, 1.0), (21, 5, 3, 1.0), (3, 256, 4, 3000.0), (6, 1, 1, 4.0)):
        b = _Builder(f"selective {channels} {states} {taps}")
        decays = -(2.0 ** np.linspace(-9, 4, channels * states).reshape(channels, states)) * (size < 100)
        b.embed(40)
        for i in range(2):
            b.linear("x" if i == 0 else "gated", "F32", ("mixed", channels), ("z", channels), bias=0.5 * size)
            kernel = b.matrix(f"taps.{i}", "F32", channels, taps, min(size, 40.0) * taps**0.5)
            offset = None if taps == 1 else b.vector(f"bias.{i}", channels, 0.0, 0.5)
            x = b.buffer("convolved", channels)
            b.ops.append(ConvolveSilu("mixed", x, kernel, offset, i, channels, taps))
            b.linear(x, "F32", ("steps", channels), ("b", states), ("c", states), bias=0.2 * size)
            if taps == 3:
                b.ops.append(Norm("b", "b", b.vector(f"gain.{i}", states, 1.0, 0.3), 1e-6, heads=1))
            decay = b.tensor(f"decay.{i}", "F32", (channels, states), _float_bytes(decays.astype(np.float32)))
            names = (
                x,
                "steps",
                "b",
                "c",
                b.buffer("scanned", channels),
                decay,
                b.vector(f"skip.{i}", channels, 1.0, 0.5),
            )
            b.ops.append(SelectiveScan(*names, i, channels, states))
            b.ops.append(Gate("z", "scanned", b.buffer("gated", channels, wide=True), "silu"))
        b.linear("gated", "F32", ("y", 41))
        b.logits("y")
        yield b.case(_cut_text(), pages=15)
    b = _Builder("selective units")  # the head reveals each unit
    b.embed(40)
    b.linear("x", "F32", ("mixed", 12), ("steps", 12))
    b.linear("x", "F32", ("b", 8), ("c", 8))
    kernel, offset = b.matrix("taps", "F32", 12, 4, 4.0), b.vector("bias", 12, 0.0, 2.0**-16)
    b.ops.append(ConvolveSilu("mixed", b.buffer("convolved", 12), kernel, offset, 0, 12, 4))
    rates = -np.geomspace(0.001, 30.0, 96).reshape(12, 8)
    decay = b.tensor("decay", "F32", (12, 8), _float_bytes(rates.astype(np.float32)))
    skip = b.vector("skip", 12, 3.0, 0.5)
    b.ops.append(SelectiveScan("convolved", "steps", "b", "c", b.buffer("y", 12), decay, skip, 0, 12, 8))
    b.logits("y")
    yield b.case([*_two_sequences(), ALL_TOKENS])


def _recurrences() -> Iterator[Case]:
    """Build two consecutive gated recurrences: with and without bounds, nearly closed gates, large values."""
    for channels, offset, size in ((40, 0.0, 1.0), (21, 8.0, 3.0), (3, 2.0, 8000.0), (6, 20.0, 4.0)):
        b = _Builder(f"recurrence {channels} {offset:g}")
        b.embed(40)
        for i in range(2):
            b.linear("x" if i == 0 else "gated", "F32", ("input", channels), ("z", channels), bias=0.5 * size)
            b.linear("x" if i == 0 else "gated", "F32", ("forget", channels), bias=offset)
            values = np.linspace(0, 1, channels, dtype=np.float32)
            room = None if i == 0 else b.tensor("room", "F32", (channels,), _float_bytes(values))
            state = b.buffer("state", channels)
            b.ops.append(GatedRecurrence("input", "forget", state, room, i, channels))
            b.ops.append(Gate(state, "z", b.buffer("gated", channels, wide=True), "silu"))
        b.linear("gated", "F32", ("y", 41))
        b.logits("y")
        yield b.case(_cut_text(), pages=15)
    b = _Builder("recurrence units")  # the head reveals each unit
    b.embed(40)
    b.linear("x", "F32", ("input", 12), ("forget", 12))
    b.ops.append(GatedRecurrence("input", "forget", b.buffer("y", 12), b.vector("room", 12, 0.5, 0.1), 0, 12))
    b.logits("y")
    yield b.case([*_two_sequences(), ALL_TOKENS])


def _trapezoidal_scans() -> Iterator[Case]:
    """Build two consecutive trapezoidal scans: groups of heads, all or some columns rotated, values at their bounds."""
    shapes = ((6, 5, 2, 12, 3, 1.0), (4, 8, 1, 16, 8, 1.0), (2, 3, 2, 256, 64, 3000.0), (3, 1, 3, 2, 1, 4.0))
    for heads, width, groups, states, angles, size in shapes:
        b = _Builder(f"trapezoidal {heads} {width} {groups} {states} {angles}")
        inner, columns = heads * width, groups * states
        b.embed(40)
        for i in range(2):
            source = "x" if i == 0 else "gated"
            b.linear(source, "F32", ("mixed", inner), ("z", inner), bias=0.5 * size)
            b.linear(source, "F32", ("b", columns), ("c", columns), ("controls", 3 * heads + angles), bias=size)
            if size == 1:
                b.ops += [Norm(n, n, b.vector(f"gain.{n}.{i}", states, 1.0, 0.3), 1e-5, heads=groups) for n in "bc"]
            names = (
                b.vector(f"step_bias.{i}", heads, 30.0 if size > 100 else -2.0, 2.0),
                b.vector(f"b_bias.{i}", heads * states, size, 0.5),
                b.vector(f"c_bias.{i}", heads * states, size, 0.5),
                b.vector(f"skip.{i}", heads, 1.0, 0.5),
            )
            buffers = ("mixed", "b", "c", "controls", b.buffer("scanned", inner))
            sizes = (heads, width, groups, states, angles)
            b.ops.append(TrapezoidalScan(*buffers, *names, 0.5 if i else 1e-4, i, *sizes))
            b.ops.append(Gate("z", "scanned", b.buffer("gated", inner, wide=True), "silu"))
        b.linear("gated", "F32", ("y", 41))
        b.logits("y")
        yield b.case(_cut_text(), pages=15)
    b = _Builder("trapezoidal units")  # the head reveals each unit
    b.embed(40)
    b.linear("x", "F32", ("mixed", 12), ("b", 8), ("c", 8), ("controls", 3 * 3 + 4))
    biases = (
        b.vector("step_bias", 3, -1.0, 1.0),
        b.vector("b_bias", 24, 1.0, 0.5),
        b.vector("c_bias", 24, 1.0, 0.5),
        b.vector("skip", 3, 3.0, 0.5),
    )
    b.ops.append(TrapezoidalScan("mixed", "b", "c", "controls", b.buffer("y", 12), *biases, 1e-4, 0, 3, 4, 1, 8, 4))
    b.logits("y")
    yield b.case([*_two_sequences(), ALL_TOKENS])


def _decoders() -> Iterator[Case]:
    """Build two whole layers: Llama's with Qwen2's biases, and Gemma's with windows and norms of heads and results."""
    for gemma in (False, True):
        heads, kv_heads, width = (4, 2, 20) if gemma else (3, 1, 24)
        b = _Builder("decoder " + ("gemma" if gemma else "llama"), kv_heads, width)
        model, hidden = 96, 160
        b.embed(model, "Q8_0", low=-8, scale=Fraction(math.isqrt(model << 60), 1 << 30) if gemma else Fraction(1))
        rotary = [b.rotation(base, width) for base in ((1e6, 1e4) if gemma else (1e4,))]
        kinds = ["Q4_0", "Q5_1", "Q8_0", "F16", "Q4_1", "MXFP4", "IQ4_NL", "Q5_0"]
        result = b.buffer("result", model, wide=True) if gemma else "x"
        for i in range(2):
            b.layers += 1
            b.ops.append(Norm("x", b.buffer("normed", model), b.vector(f"gain.{i}", model, 1.0, 0.3), 1e-5))
            b.linear(
                "normed", kinds[i], ("q", heads * width), ("k", kv_heads * width), ("v", kv_heads * width), bias=0.5
            )
            if gemma:
                for name, count in (("q", heads), ("k", kv_heads)):
                    b.ops.append(Norm(name, name, b.vector(f"{name}.{i}", width, 1.0, 0.3), 1e-6, heads=count))
            for name, count in (("q", heads), ("k", kv_heads)):
                b.ops.append(Rope(name, rotary[i % len(rotary)], count, width, interleaved=not gemma))
            o, window = b.buffer("o", heads * width), 7 if gemma and i == 0 else 0
            b.ops.append(Attend("q", "k", "v", o, i, heads, kv_heads, width, inverse_root(width), window))
            for source, inner in (("o", ""), ("hidden", "ffn")):
                if inner:
                    b.ops.append(Norm("x", "normed", b.vector(f"ffn.{i}", model, 1.0, 0.3), 1e-5))
                    b.linear("normed", kinds[2 + i], ("gate", hidden), ("up", hidden))
                    b.ops.append(Gate("gate", "up", b.buffer("hidden", hidden, wide=True), "gelu" if gemma else "silu"))
                columns = b.buffers[source].width
                weight = b.matrix(f"{source}.{i}", "F32" if columns % 32 else kinds[4 + 2 * i], model, columns)
                b.ops.append(Linear(source, (Target(result, weight, accumulate=not gemma),)))
                if gemma:
                    gain = b.vector(f"post.{source}.{i}", model, 0.0, 0.3)
                    b.ops.append(Norm("result", "x", gain, 1e-5, accumulate=True, offset=1.0))
        b.ops.append(Norm("x", "normed", b.vector("gain", model, 1.0, 0.3), 1e-5))
        b.logits("normed", "Q8_0", 101)
        yield b.case(_two_sequences())


def _encoders() -> Iterator[Case]:
    """Build encoders: bidirectional attention, learned positions, in-place norms of the stream, the other GELU variant.

    The first one's head reveals single units of attention over many rows; sequences of different lengths share steps.
    """
    texts = [
        _step(_chunk(0, range(TOKENS), (1, 0))),
        _step(_chunk(0, [9], (2,)), _chunk(0, [(5 * i + 2) % TOKENS for i in range(40)], (5, 3, 4))),
    ]
    b = _Builder("encoder attention", 2, 20)
    b.layers = 1
    b.embed(40, low=-12)
    b.linear("x", "F32", ("q", 80), ("k", 40), ("v", 40), bias=0.5)
    b.ops.append(Attend("q", "k", "v", b.buffer("o", 80), 0, 4, 2, 20, inverse_root(20), causal=False))
    b.logits("o")
    yield b.case(texts)
    b = _Builder("encoder", 3, 16)
    width, hidden, heads = 48, 80, 3
    b.embed(width, "F16", low=-8)
    positions = b.matrix("positions", "F32", 44, width, 2.0)
    rows = b.vector("types.0", width, 0.0, 0.5), b.vector("types.1", width, 0.0, 0.5)
    b.ops[0] = Embed("x", "embed", Fraction(5, 3), positions, 2, *rows, 7)
    for i in range(2):
        b.layers += 1
        gains = [
            (b.vector(f"gain.{i}.{j}", width, 1.0, 0.3), b.vector(f"bias.{i}.{j}", width, 0.0, 0.3)) for j in (0, 1)
        ]
        b.linear("x", "BF16" if i else "F32", ("q", width), ("k", width), ("v", width), bias=0.5)
        b.ops.append(Attend("q", "k", "v", b.buffer("o", width), i, heads, heads, 16, inverse_root(16), causal=False))
        b.ops.append(Linear("o", (Target("x", b.matrix(f"o.{i}", "F16", width, width), accumulate=True),)))
        b.ops.append(Norm("x", "x", gains[0][0], 1e-12, centered=True, bias=gains[0][1]))
        b.linear("x", "F16", ("up", hidden), bias=0.5)
        b.ops.append(Gate("up", None, b.buffer("hidden", hidden, wide=True), "gelu_erf"))
        b.ops.append(Linear("hidden", (Target("x", b.matrix(f"down.{i}", "F16", width, hidden), accumulate=True),)))
        b.ops.append(Norm("x", "x", gains[1][0], 1e-12, centered=True, bias=gains[1][1]))
    b.logits("x")
    yield b.case(texts)


def with_largest_inputs(program: Program) -> Program:
    """Return a program whose products have stored largest inputs, some so small that many rows are clipped."""
    tensors, ops = dict(program.tensors), list(program.ops)
    for i, op in enumerate(ops):
        if isinstance(op, Linear):
            name, value = f"{op.targets[0].weight}.largest_input", np.array([3.0 ** (i % 6) / 32], np.float32)
            tensors[name] = Tensor(name, "F32", (1,), np.frombuffer(_float_bytes(value), np.uint8))
            ops[i] = replace(op, largest=name)
    return replace(program, ops=tuple(ops), tensors=tensors)


def cases() -> Iterator[Case]:
    """Return all synthetic programs, in a fixed order."""
    for kind in DIGESTED:
        yield _matrix(kind, 8)
    for kind in FLOAT_FORMATS:
        for bits in (8, 4):
            yield _matrix(kind, bits)
    for kind, columns in (("Q8_0", 32768), ("Q5_0", 32768), ("Q4_1", 32768), ("Q6_K", 32768), ("Q2_K", 32768)):
        yield _extreme(kind, columns)
    parts = (_norms, _layer_norms, _ropes, _gates, _experts, _gathers, _scatters, _attention, _convolutions, _scans)
    recurrent = (_deltas, _selective_scans, _recurrences, _trapezoidal_scans)
    for family in (*parts, *recurrent, _decoders, _adapters, _encoders, _multiplied):
        yield from family()
