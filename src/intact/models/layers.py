"""Programs of some of a model's layers, cut where nothing but the residual stream goes from one to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

from intact.errors import ParameterError
from intact.models.adapters import STREAM, layer_ends
from intact.models.program import Adapt, AllGather, Attend, Convolve, Embed, Linear, Op, Program, Scan, Steer


class Segments(NamedTuple):
    """The operations of a program: those of the embedding, of each layer, and of the head."""

    embedding: tuple[Op, ...]
    layers: tuple[tuple[Op, ...], ...]
    head: tuple[Op, ...]


def segments(program: Program) -> Segments:
    """Cut a program between its layers, where nothing but the residual stream goes on.

    Raises
    ------
    ParameterError
        If more than that goes from one layer to the next.
    """
    ops = program.ops
    first = 1 + next(i for i, op in enumerate(ops) if isinstance(op, Embed))
    ends = []
    for end in layer_ends(program):
        following = end + 1
        while isinstance(ops[following], Adapt | Steer):  # changes of the layer's last product
            following += 1
        ends.append(following)
    found = Segments(ops[:first], tuple(ops[a:b] for a, b in pairwise([first, *ends])), ops[ends[-1] :])
    for part in (*found.layers, found.head):
        known = {STREAM}
        for op in part:
            read = _mentioned(op, program) - _set(op) - known
            if read:
                raise ParameterError(f"a layer of {program.architecture} reads {min(read)} of the layer before")
            known |= _set(op)
    return found


def _mentioned(op: Op, program: Program) -> set[str]:
    """Return the buffers that an operation reads or writes."""
    names = {value for value in vars(op).values() if isinstance(value, str)}
    if isinstance(op, Linear):
        names |= {target.buffer for target in op.targets}
    return names & program.buffers.keys()


def _set(op: Op) -> set[str]:
    """Return the buffers that an operation sets, whatever was in them."""
    if isinstance(op, Linear):
        return {target.buffer for target in op.targets if not target.accumulate}
    target = getattr(op, "target", None)
    adds = getattr(op, "accumulate", False) or getattr(op, "keep", False) or isinstance(op, Adapt | Steer)
    return set() if target is None or adds or target in _sources(op) else {target}


def _sources(op: Op) -> set[Any]:
    return {getattr(op, name, None) for name in ("source", "query", "key", "value", "gate", "up", "scores", "steps")}


def some_layers(program: Program, chosen: Sequence[int]) -> Program:
    """Return a program of some layers: embedding, an exchange of the stream, layer, exchange, ..., head.

    Parameters
    ----------
    chosen : sequence of int
        Numbers of layers from 0, ascending. Their parts of the cache are numbered anew.

    Raises
    ------
    ParameterError
        If the program cannot be cut between layers.
    """
    parts = segments(program)
    exchange = AllGather(None, STREAM, (program.buffers[STREAM].width,), accumulate=True)
    counts = dict.fromkeys((Attend, Convolve, Scan), 0)
    ops: list[Op] = [*parts.embedding, exchange]
    for layer in chosen:
        for op in parts.layers[layer]:
            if isinstance(op, Attend | Convolve | Scan):
                ops.append(replace(op, layer=counts[type(op)]))
                counts[type(op)] += 1
            else:
                ops.append(op)
        ops.append(exchange)
    return replace(program, ops=(*ops, *parts.head), layers=counts[Attend])
