"""The structure of a program: what the transforms of `intact.quantizing.quantizers.transforms` need to know of it."""

from __future__ import annotations

from collections.abc import Iterator

from intact.models import Program
from intact.models.program import Attend, Embed, Gate, Linear, Logits, Norm, Target
from intact.quantizing.quantizers.transforms.structure import (
    FeedForward,
    ModelStructure,
    Projection,
    StreamNorm,
    ValuePath,
)


def find_structure(program: Program) -> ModelStructure:
    """Return the structure of a decoder."""
    embed = next(op for op in program.ops if isinstance(op, Embed))
    stream = embed.target
    gains = {op.source: op.gain for op in program.ops if isinstance(op, Norm) and op.accumulate and op.target == stream}
    targets = [target for op in program.ops if isinstance(op, Linear) for target in op.targets]
    return ModelStructure(
        program.architecture,
        program.buffers[stream].width,
        embed.weight,
        program.head_weight,
        tuple(_norms(program, stream)),
        tuple(_projection(target) for target in targets if target.buffer == stream or target.buffer in gains),
        tuple(op.gain for op in program.ops if isinstance(op, Norm) and op.accumulate),
        tuple(_feed_forwards(program)),
        tuple(_values(program)),
        tuple(target.weight for target in targets),
        tuple(t.weight for op in program.ops if isinstance(op, Linear) and op.source == stream for t in op.targets),
    )


def _projection(target: Target) -> Projection:
    return Projection(target.weight, target.bias)


def _readers(program: Program, at: int, buffer: str) -> tuple[list[str], int | None]:
    """Return the matrices that read a buffer after an operation until it is written again, and their first product."""
    names: list[str] = []
    first: int | None = None
    for i, op in enumerate(program.ops[at + 1 :], at + 1):
        if isinstance(op, Linear) and op.source == buffer:
            names += [target.weight for target in op.targets]
            first = i if first is None else first
        elif isinstance(op, Logits) and op.source == buffer and op.weight is not None:
            names.append(op.weight)
        elif getattr(op, "target", None) == buffer:
            break
    return names, first


def _written(program: Program, at: int, buffer: str) -> Projection | None:
    """Return the matrix that wrote a buffer before an operation; None if another operation wrote it last."""
    for op in reversed(program.ops[:at]):
        if isinstance(op, Linear):
            for target in op.targets:
                if target.buffer == buffer:
                    return None if target.accumulate else _projection(target)
        elif getattr(op, "target", None) == buffer or getattr(op, "buffer", None) == buffer:
            return None
    return None


def _norms(program: Program, stream: str) -> Iterator[StreamNorm]:
    for at, op in enumerate(program.ops):
        if isinstance(op, Norm) and op.source == stream and not op.accumulate:
            names, first = _readers(program, at, op.target)
            yield StreamNorm(op.gain, op.offset, tuple(names), first)


def _feed_forwards(program: Program) -> Iterator[FeedForward]:
    for at, op in enumerate(program.ops):
        if isinstance(op, Gate):
            gate = _written(program, at, op.gate)
            up = None if op.up is None else _written(program, at, op.up)
            down, first = _readers(program, at, op.target)
            if gate is not None and up is not None and op.up != op.gate and first is not None:
                yield FeedForward(gate, up, tuple(down), first)


def _values(program: Program) -> Iterator[ValuePath]:
    for at, op in enumerate(program.ops):
        if isinstance(op, Attend):
            value = _written(program, at, op.value)
            output, first = _readers(program, at, op.target)
            if value is not None and first is not None:
                yield ValuePath(value, tuple(output), first, op.heads, op.kv_heads, op.width)
