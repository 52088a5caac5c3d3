"""Count the work of a step for each rank of a model: multiply-adds, bytes, operations, exchanges; and its memory.

The work is counted on the rank's own program (`intact.library.parallel.cut`), so that plans split the model exactly as
runs do. Weights are never read: sizes in memory are measured on 16 outputs of random weights in the same format.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.checkpoints.formats import Tensor
from intact.checkpoints.formats.tensor import byte_length
from intact.executors.packing import pack_tensor
from intact.executors.profile import StepWork
from intact.library.parallel.channel import HEADER
from intact.library.parallel.cut import PANEL, cut_program, divide_heads
from intact.library.parallel.plan import plan_length
from intact.measure.conformance.synthetic import random_tensor
from intact.measure.planning.repeats import Repeat, matrices_of, repeated_order, shorten
from intact.models.aspects.step import SequenceChunk
from intact.models.ops import (
    AllGather,
    Attend,
    Logits,
)
from intact.models.program import Program
from intact.numerics.integers import INTEGER, slice_rows

PAGE: Final = 32
"""Positions per page of the KV cache, as in `intact.load`."""
NUMBER: Final = 4
"""Bytes per number in an exchange: 64-bit numbers are sent as 32 bits if they fit, as residual streams do."""
PLAN: Final = 8
"""Bytes per number in the list that rank 0 sends to start a step."""
_KEPT: Final = 64
"""Maximum number of cached rank programs."""


class Segment(NamedTuple):
    """The work between two exchanges."""

    macs: int
    bytes: int
    operations: int

    def plus(self, macs: int, moved: int) -> Segment:
        """Return the segment with one more operation."""
        return Segment(self.macs + macs, self.bytes + moved, self.operations + 1)


class Transfer(NamedTuple):
    """Bytes that a rank transfers in an exchange: columns that it sends, and columns that it lacks."""

    own: int
    lacking: int

    @property
    def whole(self) -> int:
        """Bytes of whole rows."""
        return self.own + self.lacking - 2 * HEADER.size


@dataclass(frozen=True)
class RankWork:
    """One rank's part of a step.

    Attributes
    ----------
    segments : tuple of Segment
        One more than the number of exchanges.
    transfers : tuple of Transfer
        Transfers of its exchanges, in order.
    logits : int
        Bytes of the logits that it computes.
    plan : int
        Bytes of the list that starts the step.
    """

    segments: tuple[Segment, ...]
    transfers: tuple[Transfer, ...]
    logits: int
    plan: int

    @property
    def total(self) -> Segment:
        """The sum of all segments."""
        return Segment(*(sum(column) for column in zip(*self.segments, strict=True)))


class StepRows(NamedTuple):
    """The rows of a step.

    Attributes
    ----------
    texts : int
        Number of sequences with rows in the step.
    each : int
        Rows per sequence: 1 during generation, more for a prompt.
    position : int
        Number of tokens already in each sequence.
    """

    texts: int
    each: int
    position: int

    @property
    def pages(self) -> int:
        """The number of pages per sequence."""
        return -(-(self.position + self.each) // PAGE)

    @property
    def chunks(self) -> list[SequenceChunk]:
        """A chunk of some tokens for each sequence, on its own pages."""
        tokens = np.arange(100, 100 + self.each, dtype=np.int32)
        pages = np.arange(self.texts * self.pages, dtype=np.int32).reshape(self.texts, self.pages)
        return [SequenceChunk(self.position, tokens, own) for own in pages]

    @property
    def last_rows(self) -> NDArray[np.int64]:
        """The last row of each sequence."""
        return np.arange(self.texts, dtype=np.int64) * self.each + self.each - 1


class RankMemory(NamedTuple):
    """Memory of a rank in bytes: packed weights, and the cache of one position of one sequence."""

    weights: int
    position: int


@dataclass(frozen=True, eq=False)
class PackedSizes:
    """Bytes of matrices and the cache in memory, as the kernels store them."""

    integers: dict[str, int] = field(default_factory=dict)
    """Bytes of 16 outputs of integer matrices by name; these sizes depend on the contents."""

    def of(self, tensor: Tensor) -> int:
        """Return the bytes of a matrix, or of some outputs of it."""
        panels = -(-tensor.shape[0] // PANEL)
        if tensor.kind == INTEGER:
            return panels * self.panel_of(tensor)
        size = _packed_size(tensor.kind, tensor.shape[1])
        return panels * size.panel + size.rest

    def panel_of(self, tensor: Tensor) -> int:
        """Return the bytes of an integer matrix's first 16 outputs, as first measured under this name."""
        if tensor.name not in self.integers:
            few = min(PANEL, tensor.shape[0])
            part = Tensor(tensor.name, INTEGER, (few, tensor.shape[1]), slice_rows(tensor.data, 0, few))
            self.integers[tensor.name] = pack_tensor(part, 8, 1).nbytes
        return self.integers[tensor.name]


@dataclass(frozen=True, eq=False)
class ModelWork:
    """Counts the work of one model for any split and step.

    Parameters
    ----------
    program : Program
        The whole program, shortened. Tensors other than integer ones are replaced with placeholders that take no
        memory.
    repeat : Repeat or None
        Its operations that count more than once.
    whole : Program or None
        The program with all its layers, also without memory; None means `program`.
    sizes : PackedSizes
        Sizes of its matrices.
    """

    program: Program
    repeat: Repeat | None = None
    whole: Program | None = None
    sizes: PackedSizes = field(default_factory=PackedSizes)
    _parts: dict[tuple[int, ...], Program] = field(default_factory=dict)

    @classmethod
    def of(cls, program: Program) -> ModelWork:
        """Build the `ModelWork` of a program."""
        short, repeat = shorten(program)
        tensors = {name: _weightless(tensor) for name, tensor in program.tensors.items()}
        found = cls(
            replace(short, tensors={name: tensors[name] for name in short.tensors}),
            repeat,
            replace(program, tensors=tensors),
        )
        for tensor in short.tensors.values():
            if tensor.kind == INTEGER:
                found.sizes.panel_of(tensor)
        return found

    @property
    def heads(self) -> int:
        """The number of attention heads, which is the maximum number of ranks."""
        return next((op.heads for op in self.program.ops if isinstance(op, Attend)), 1)

    def heads_of(self, shares: Sequence[int]) -> list[tuple[int, int]]:
        """Return the heads and KV heads of each rank; apart from rank 0, ranks with equal ones have the same work."""
        first = next(op for op in self.program.ops if isinstance(op, Attend))
        parts = divide_heads(first.heads, first.kv_heads, shares)
        return [(own.width, keys.width) for own, keys in zip(*parts, strict=True)]

    def part(self, shares: Sequence[int], rank: int) -> Program:
        """Return the program of a rank; the whole program for a single rank."""
        if len(shares) == 1:
            return self.program
        key = (*shares, rank)
        if key not in self._parts:
            while len(self._parts) >= _KEPT:
                del self._parts[next(iter(self._parts))]
            self._parts[key] = cut_program(self.program, shares, rank)
        return self._parts[key]

    def memory(self, part: Program) -> RankMemory:
        """Return the memory of a rank's program; a cache page is as large as in the native executor."""
        times, position = dict[str, int](), 0
        for i, count in Counter(repeated_order(part, self.repeat)).items():
            position += count * part.ops[i].position_bytes(part, PAGE)
            for name in matrices_of(part.ops[i], part.tensors):
                times[name] = max(times.get(name, 0), count)
        weights = sum(count * self.sizes.of(part.tensors[name]) for name, count in times.items())
        return RankMemory(weights, position)

    def step(self, part: Program, rows: StepRows) -> RankWork:
        """Return the work of a step for a rank's program."""
        count = rows.texts * rows.each
        work = StepWork(part, False, lambda name: self.sizes.of(part.tensors[name]), {})
        work.add(rows.chunks, rows.last_rows, narrows=rows.each > 1)
        segments, transfers = [Segment(0, 0, 0)], []
        sizes = work.by_operation()
        for i in repeated_order(part, self.repeat):
            op, size = part.ops[i], sizes[i]
            segments[-1] = segments[-1].plus(size.macs, size.bytes)
            if isinstance(op, AllGather):
                own = 0 if op.source is None else part.buffers[op.source].width
                row = NUMBER * count
                transfers.append(Transfer(row * own + HEADER.size, row * (sum(op.widths) - own) + HEADER.size))
                segments.append(Segment(0, 0, 0))
        heads = [op.weight for op in part.ops if isinstance(op, Logits)]
        outputs = sum(part.tensors[name].shape[0] for name in heads if name is not None)
        numbers = plan_length(rows.texts, count, rows.texts * rows.pages, rows.texts)
        return RankWork(
            tuple(segments), tuple(transfers), rows.texts * outputs * NUMBER + HEADER.size, numbers * PLAN + HEADER.size
        )


def _weightless(tensor: Tensor) -> Tensor:
    """Return a tensor of zero bytes that takes no memory."""
    if tensor.kind == INTEGER:
        return tensor
    return Tensor(tensor.name, tensor.kind, tensor.shape, np.broadcast_to(np.uint8(0), (_length(tensor),)))


def _length(tensor: Tensor) -> int:
    length = byte_length(tensor.kind, tensor.shape)
    if length is None:
        raise ParameterError(f"{tensor.name}: {tensor.shape} is not a whole number of blocks of {tensor.kind}")
    return length


class _Size(NamedTuple):
    """Bytes of a packed matrix: per 16 outputs, and the rest."""

    panel: int
    rest: int


@lru_cache(maxsize=1024)
def _packed_size(kind: str, columns: int) -> _Size:
    """Return the size in memory of matrices in a format, derived from measurements of one and of two panels."""
    one, two = (
        pack_tensor(Tensor(kind, kind, (rows, columns), _random(kind, rows, columns)), 8, 1).nbytes
        for rows in (PANEL, 2 * PANEL)
    )
    return _Size(two - one, 2 * one - two)


def _random(kind: str, rows: int, columns: int) -> NDArray[np.uint8]:
    return np.frombuffer(random_tensor(kind, kind, (rows, columns), columns**-0.5), np.uint8)
