"""Shorten programs: three layers represent a run of identical ones, with the middle one standing for the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from intact.checkpoints.formats import Tensor
from intact.models.aspects.op import Cached, Convolution, Op, Recurrent
from intact.models.program import Program


class Repeat(NamedTuple):
    """Operations that represent several repetitions.

    Attributes
    ----------
    first, after : str
        Tensors of the first repeated operation that has one, and of the same operation in the last layers.
    times : int
        Number of times that the operations from `first` up to `after` are run.
    """

    first: str
    after: str
    times: int


class ShortProgram(NamedTuple):
    """A program, with its operations that count more than once, if any."""

    program: Program
    repeat: Repeat | None


def shorten(program: Program) -> ShortProgram:
    """Return the program without repetitions of identical layers; its field `layers` is unchanged.

    Layers are identical if their operations have the same order, shapes and formats. A period may span several layers,
    for example if every sixth layer attends to all positions.
    """
    marks = dict[object, int]()
    numbers = np.array([marks.setdefault(signature(op, program.tensors), len(marks)) for op in program.ops])
    best = (0, 0, 0, 0)  # operations saved, period, start, periods
    for period in range(1, len(numbers) // 4 + 1):
        same = np.concatenate([[0], numbers[:-period] == numbers[period:], [0]]).astype(np.int8)
        edges = np.flatnonzero(np.diff(same))
        for start, stop in edges.reshape(-1, 2).tolist():
            periods = (stop - start) // period + 1
            best = max(best, ((periods - 3) * period, -period, start, periods))
    saved, period, start, periods = best[0], -best[1], best[2], best[3]
    if saved <= 0:
        return ShortProgram(program, None)
    middle, last = start + period, start + (periods - 1) * period
    firsts = [
        next((name for op in program.ops[at : at + period] for name in tensors_of(op, program.tensors)), None)
        for at in (middle, last)
    ]
    if firsts[0] is None or firsts[1] is None or firsts[0] == firsts[1]:
        return ShortProgram(program, None)
    ops = (*program.ops[: middle + period], *program.ops[last:])
    names = {name for op in ops for name in tensors_of(op, program.tensors)}
    tensors = {name: tensor for name, tensor in program.tensors.items() if name in names}
    return ShortProgram(replace(program, ops=ops, tensors=tensors), Repeat(firsts[0], firsts[1], periods - 2))


def repeated_order(program: Program, repeat: Repeat | None) -> list[int]:
    """Return the indices of the operations of a short program, or of a rank's part of one, with repetitions."""
    everything = range(len(program.ops))
    if repeat is None:
        return list(everything)
    where = {
        name.partition("[")[0]: i
        for i in reversed(everything)
        for name in reversed(list(tensors_of(program.ops[i], program.tensors)))
    }
    first, after = where[repeat.first], where[repeat.after]
    return [*everything[:first], *(list(everything[first:after]) * repeat.times), *everything[after:]]


def tensors_of(op: Op, tensors: Mapping[str, Tensor]) -> Iterator[str]:
    """Yield the names of an operation's tensors."""
    yield from (value for value in _values(op) if isinstance(value, str) and value in tensors)


def matrices_of(op: Op, tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names of an operation's matrices; the taps of convolutions do not count."""
    if isinstance(op, Convolution | Recurrent):
        return []
    return [name for name in tensors_of(op, tensors) if len(tensors[name].shape) == 2]


def _values(value: Any) -> Iterator[object]:
    if is_dataclass(value) and not isinstance(value, type):
        for one in fields(value):
            yield from _values(getattr(value, one.name))
    elif isinstance(value, tuple):
        for one in value:
            yield from _values(one)
    else:
        yield value


def signature(op: Op, tensors: Mapping[str, Tensor]) -> object:
    """Return a key for the cost of an operation: everything except the names of its tensors and its layer."""
    same = op.at_layer(0) if isinstance(op, Cached) else op
    parts = (
        (tensors[value].kind, tensors[value].shape) if isinstance(value, str) and value in tensors else value
        for value in _values(same)
    )
    return type(op), tuple(parts)
