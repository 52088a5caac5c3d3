"""Float models to measure quantisers on, made of a file whose weights lie on a grid already.

Requantising such a file on the same blocks flatters grids like its own. Both changes keep the function that the model
computes, in floats:

- *permuted*: one random permutation of the residual stream, and one of each feed-forward net's hidden channels. The
  values stay, with their outliers, but a new block mixes those of many old ones.
- *rotated*: the gains of the norms are folded into the matrices behind them, and the residual stream is turned by one
  random orthogonal matrix: weights become nearly Gaussian. Not for architectures with norms behind their products
  (Gemma 3), whose gains do not commute with a rotation. A head that was tied to the embeddings becomes its own matrix.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from intact.catalogue import resolve
from intact.errors import ParameterError
from intact.formats import open_checkpoint
from intact.formats.safetensors import Stored
from intact.models import Program, build_program
from intact.models.program import Embed, Gate, Linear, Logits, Norm, Op
from intact.numerics.dequantize import dequantize
from intact.quantizing.output import write_checkpoint
from intact.quantizing.parts import check_source

Source = Literal["permuted", "rotated"]
SOURCES: Final = ("permuted", "rotated")
Floats = NDArray[np.float32]
_HEAD: Final = "output.weight"
BITS: Final = 21
"""Of a matrix, and of each of two parts of a rotation: sums of 2^10 products are exact, whatever their order."""


def write_source(model: str | os.PathLike[str], kind: Source, out: Path, seed: int = 0) -> None:
    """Write a model that computes the same function with other weights, in float32, into a new folder.

    Raises
    ------
    ParameterError
        If the architecture has norms behind its products and is to be rotated.
    """
    with open_checkpoint(Path(resolve(model))) as checkpoint:
        program = build_program(checkpoint)
        check_source(program)
        values = {name: dequantize(tensor.kind, tensor.data, tensor.shape) for name, tensor in program.tensors.items()}
        (_permute if kind == "permuted" else _rotate)(program, values, np.random.default_rng(seed))
        names = {name: tensor.name for name, tensor in program.tensors.items()} | {
            name: name for name in values if name not in program.tensors
        }
        data = {names[name]: value.astype("<f4") for name, value in values.items()}
        stored = [Stored(name, "F32", value.shape, value.nbytes) for name, value in data.items()]
        write_checkpoint(checkpoint, stored, lambda name: data[name].tobytes(), out, {"source": f"{kind} {seed}"})


def _stream(program: Program) -> str:
    """Return the buffer of the residual stream."""
    return next(op.target for op in program.ops if isinstance(op, Embed))


def _readers(program: Program) -> Iterator[tuple[Op, list[str]]]:
    """Yield the norms of the stream that go into products, and the matrices that read them."""
    for norm in program.ops:
        if isinstance(norm, Norm) and norm.source == _stream(program) and not norm.accumulate:
            at = program.ops.index(norm)
            op = next(o for o in program.ops[at + 1 :] if isinstance(o, Linear | Logits) and o.source == norm.target)
            yield norm, [op.weight] if isinstance(op, Logits) else [target.weight for target in op.targets]


def _writers(program: Program) -> tuple[list[str], list[str]]:
    """Return the matrices whose results are added to the stream, and the gains of norms whose results are."""
    stream, from_norm = _stream(program), {}
    for op in program.ops:
        if isinstance(op, Norm) and op.accumulate and op.target == stream:
            from_norm[op.source] = op.gain
    matrices, gains = [], [op.gain for op in program.ops if isinstance(op, Norm) and op.accumulate]
    for op in program.ops:
        if isinstance(op, Linear):
            matrices += [t.weight for t in op.targets if t.buffer == stream or t.buffer in from_norm]
    return matrices, gains


def _embeddings(program: Program) -> tuple[str, str]:
    embed = next(op.weight for op in program.ops if isinstance(op, Embed))
    return embed, next(op.weight for op in program.ops if isinstance(op, Logits))


def _permute(program: Program, values: dict[str, Floats], draw: np.random.Generator) -> None:
    order = draw.permutation(program.buffers[_stream(program)].width)
    matrices, gains = _writers(program)
    columns = set(_embeddings(program))
    for norm, readers in _readers(program):
        assert isinstance(norm, Norm)
        gains.append(norm.gain)
        columns.update(readers)
    for name in columns:
        values[name] = values[name][:, order]
    for name in matrices:
        values[name] = values[name][order]
    for name in dict.fromkeys(gains):
        values[name] = values[name][order]
    for gate, up, down in _feed_forward(program):
        hidden = draw.permutation(len(values[gate]))
        values[gate], values[up] = values[gate][hidden], values[up][hidden]
        values[down] = values[down][:, hidden]


def _feed_forward(program: Program) -> Iterator[tuple[str, str, str]]:
    """Yield the matrices of each gated net: gate, up, down."""
    for i, op in enumerate(program.ops):
        if isinstance(op, Gate):
            before = next(o for o in reversed(program.ops[:i]) if isinstance(o, Linear))
            after = next(o for o in program.ops[i:] if isinstance(o, Linear))
            into = {target.buffer: target.weight for target in before.targets}
            yield into[op.gate], into[op.up], after.targets[0].weight


def _rotate(program: Program, values: dict[str, Floats], draw: np.random.Generator) -> None:
    matrices, gains = _writers(program)
    if gains:
        raise ParameterError(f"{program.architecture} has norms behind its products: it can be permuted, not rotated")
    embed, head = _embeddings(program)
    if head == embed:
        values[_HEAD] = values[embed].copy()
        head = _HEAD
    rotation = _orthogonal(program.buffers[_stream(program)].width, draw)
    for norm, readers in _readers(program):
        assert isinstance(norm, Norm)
        gain = values[norm.gain] + np.float32(norm.offset)
        for name in [head if name == embed else name for name in readers]:
            values[name] = _product(values[name] * gain, rotation)
        values[norm.gain] = np.full_like(gain, 1 - norm.offset)
    values[embed] = _product(values[embed], rotation)
    for name in matrices:
        values[name] = np.ascontiguousarray(_product(np.ascontiguousarray(values[name].T), rotation).T)


def _orthogonal(n: int, draw: np.random.Generator) -> NDArray[np.float64]:
    """Return a random orthogonal matrix: the product of n reflections, by elementwise operations in a fixed order."""
    q = np.eye(n)
    for k in range(n):
        v = np.zeros(n)
        v[k:] = draw.integers(-(1 << 15), 1 << 15, n - k)
        length = float((v.astype(np.int64) ** 2).sum())
        if length == 0:
            continue
        along = np.zeros(n)
        for j in range(k, n):
            along += q[:, j] * v[j]
        q -= (along * (2.0 / length))[:, None] * v[None, :]
    return q


def _product(matrix: Floats, rotation: NDArray[np.float64]) -> Floats:
    """Return matrix times rotation: both rounded to integers, so that BLAS adds exactly, in whatever order."""
    exponent = np.frexp(np.abs(matrix).max(axis=1, initial=0))[1].astype(np.int64)[:, None]
    rows = np.floor(np.ldexp(matrix.astype(np.float64), BITS - exponent) + 0.5)
    turned = np.zeros((len(rows), len(rotation)))
    rest = rotation
    for part in (1, 2):
        digits = np.floor(np.ldexp(rest, part * BITS) + 0.5)
        rest = rest - np.ldexp(digits, -part * BITS)
        turned += np.ldexp(rows @ digits, -part * BITS)
    result: Floats = np.ldexp(turned, exponent - BITS).astype(np.float32)
    return result
