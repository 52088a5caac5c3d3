"""Programs for parts of a model, split where only the residual stream passes from one layer to the next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from intact._base.errors import ParameterError
from intact.checkpoints.formats import Tensor
from intact.models.adapters import STREAM, layer_ends
from intact.models.aspects.op import Cached, Op
from intact.models.aspects.tables import Buffer
from intact.models.ops import Adapt, AllGather, Attend, Embed, Logits, Steer
from intact.models.program import Program

_ZEROS: Final = "stage.zeros"
"""Head matrix of programs that consist only of layers."""


class Segments(NamedTuple):
    """The operations of a program, divided into the operations of the embedding, of each layer, and of the head."""

    embedding: tuple[Op, ...]
    layers: tuple[tuple[Op, ...], ...]
    head: tuple[Op, ...]


def segments(program: Program) -> Segments:
    """Split a program between its layers, where only the residual stream is passed on.

    Raises
    ------
    ParameterError
        If a layer also reads other buffers of the previous layer.
    """
    ops = program.ops
    first = 1 + next(i for i, op in enumerate(ops) if isinstance(op, Embed))
    ends = []
    for end in layer_ends(program):
        following = end + 1
        while isinstance(ops[following], Adapt | Steer):  # adapter changes to the layer's last product
            following += 1
        ends.append(following)
    found = Segments(ops[:first], tuple(ops[a:b] for a, b in pairwise([first, *ends])), ops[ends[-1] :])
    for part in (*found.layers, found.head):
        known = {STREAM}
        for op in part:
            read = op.reads() - known
            if read:
                raise ParameterError(f"a layer of {program.architecture} reads {min(read)} from the previous layer")
            known |= op.sets()
    return found


def some_layers(program: Program, chosen: Sequence[int]) -> Program:
    """Return a program of some layers: embedding, an exchange of the stream, layer, exchange, ..., head.

    Parameters
    ----------
    chosen : sequence of int
        Layer numbers from 0, ascending. Their parts of the cache are renumbered.

    Raises
    ------
    ParameterError
        If the program cannot be split between layers.
    """
    parts = segments(program)
    exchange = _exchange(program)
    ops: list[Op] = [*parts.embedding, exchange]
    for layer in chosen:
        ops += [*parts.layers[layer], exchange]
    ops, count = _renumbered(ops)
    return replace(program, ops=(*ops, *parts.head), layers=count)


def stream_program(program: Program) -> Program:
    """Return a program with an exchange of the stream, which may replace rows, between the embedding and the layers.

    Raises
    ------
    ParameterError
        If the program cannot be split between layers.
    """
    parts = segments(program)
    layers = [op for layer in parts.layers for op in layer]
    return replace(program, ops=(*parts.embedding, _exchange(program), *layers, *parts.head))


def watched_program(program: Program, boundaries: Iterable[int]) -> Program:
    """Return a program with an exchange of the stream before each given layer; the head counts as one more layer.

    Raises
    ------
    ParameterError
        If the program cannot be split between layers.
    """
    parts = segments(program)
    exchange, watched = _exchange(program), set(boundaries)
    ops = list(parts.embedding)
    for number, part in enumerate((*parts.layers, parts.head)):
        ops += [exchange, *part] if number in watched else part
    return replace(program, ops=tuple(ops))


def outer_program(program: Program) -> Program:
    """Return a program without its layers: the embedding, an exchange of the stream instead of them, and the head.

    Raises
    ------
    ParameterError
        If the program cannot be split between layers.
    """
    parts = segments(program)
    exchange = _exchange(program)
    ops = (*parts.embedding, exchange, *parts.head)
    return replace(program, ops=ops, buffers=_used_buffers(ops, program), layers=0)


def inner_program(program: Program, first: int, stop: int) -> Program:
    """Return a program of layers `first` to `stop` - 1, between an exchange that sets rows and one that reads them.

    Executors end a step with logits. This program has one logit, computed from zeros, so that every row can be wanted;
    unwanted rows would be dropped in the last layer.

    Raises
    ------
    ParameterError
        If the program cannot be split between layers.
    """
    layers = segments(program).layers[first:stop]
    width = program.buffers[STREAM].width
    enter, leave = AllGather(None, STREAM, (width,)), _exchange(program)
    ops, count = _renumbered([enter, *(op for layer in layers for op in layer), leave, Logits(STREAM, _ZEROS)])
    zeros = Tensor(_ZEROS, "F32", (1, width), np.zeros(4 * width, np.uint8))
    return replace(
        program,
        ops=tuple(ops),
        buffers=_used_buffers(ops, program),
        tensors={**program.tensors, _ZEROS: zeros},
        layers=count,
        vocabulary=1,
    )


def _exchange(program: Program) -> AllGather:
    """Return an exchange that reads the stream's rows and may replace them."""
    return AllGather(None, STREAM, (program.buffers[STREAM].width,), accumulate=True)


def _renumbered(ops: Iterable[Op]) -> tuple[list[Op], int]:
    """Return operations with their parts of the cache renumbered from 0, and the number of attention operations."""
    counts, found = Counter[int](), list[Op]()
    for op in ops:
        if isinstance(op, Cached):
            found.append(op.at_layer(counts[op.order]))
            counts[op.order] += 1
        else:
            found.append(op)
    return found, counts[Attend.order]


def _used_buffers(ops: Iterable[Op], program: Program) -> dict[str, Buffer]:
    """Return the buffers that operations refer to."""
    names = {STREAM}.union(*(op.reads() | op.writes() for op in ops))
    return {name: buffer for name, buffer in program.buffers.items() if name in names}
