"""The work and memory of a pipeline's ranks, counted layer by layer, so that any partition is a sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from intact.executors.profile import StepWork
from intact.library.parallel.channel import HEADER
from intact.library.parallel.pipeline import PART_ROWS, divide_count
from intact.library.parallel.plan import plan_length
from intact.measure.planning.repeats import matrices_of, signature
from intact.measure.planning.work import NUMBER, PAGE, PLAN, PackedSizes, RankMemory, Segment, StepRows
from intact.models.adapters import STREAM
from intact.models.aspects.cutting import Part
from intact.models.aspects.op import Op
from intact.models.aspects.work import WorkSize
from intact.models.layers import Segments, inner_program, segments, some_layers
from intact.models.program import Program


class StageWork(NamedTuple):
    """The work of a rank for one part of a step.

    Attributes
    ----------
    segment : Segment
        The work of its layers.
    plan, entering, leaving : int
        Bytes of the messages that it receives, the step and the rows before its layers, and of the one that it returns;
        0 on rank 0.
    """

    segment: Segment
    plan: int = 0
    entering: int = 0
    leaving: int = 0


class PipelineWork(NamedTuple):
    """A step of a pipeline.

    Attributes
    ----------
    embedding, head : Segment
        Work of rank 0, for all rows.
    parts : tuple of tuple of StageWork
        For each part of the step, the ranks' work.
    """

    embedding: Segment
    head: Segment
    parts: tuple[tuple[StageWork, ...], ...]


class _Outer(NamedTuple):
    embedding: Segment
    head: Segment


@dataclass(frozen=True, eq=False)
class StagesWork:
    """Counts the work of one model whose layers are divided between ranks.

    Parameters
    ----------
    program : Program
        The whole program; its tensors need no memory.
    sizes : PackedSizes
        Sizes of its matrices.
    """

    program: Program
    sizes: PackedSizes
    _layers: dict[tuple[int, StepRows, int], Segment] = field(default_factory=dict)
    _kept: dict[int, RankMemory] = field(default_factory=dict)
    _outers: dict[StepRows, _Outer] = field(default_factory=dict)

    @cached_property
    def kinds(self) -> tuple[int, ...]:
        """For each layer, the index of the first layer with the same operations.

        Raises
        ------
        ParameterError
            If the program cannot be split between layers.
        """
        marks, tensors = dict[object, int](), self.program.tensors
        return tuple(
            marks.setdefault(tuple(signature(op, tensors) for op in ops), i)
            for i, ops in enumerate(self._segments.layers)
        )

    @cached_property
    def _segments(self) -> Segments:
        return segments(self.program)

    def memory(self, shares: Sequence[int]) -> list[RankMemory]:
        """Return the memory of each rank: its layers and, on rank 0, the embedding and the head.

        Raises
        ------
        ParameterError
            If there are more ranks than layers, or the program cannot be split between them.
        """
        outer = self._weights((*self._segments.embedding, *self._segments.head))
        found = [
            [self._memory_of(kind) for kind in self.kinds[layers.start : layers.stop]]
            for layers in divide_count(len(self.kinds), shares)
        ]
        found[0].append(RankMemory(outer, 0))
        return [RankMemory(*(sum(column) for column in zip(*parts, strict=True))) for parts in found]

    def step(self, shares: Sequence[int], rows: StepRows) -> PipelineWork:
        """Return the work of a step, in parts of at most `PART_ROWS` rows per rank.

        Raises
        ------
        ParameterError
            As for `memory`.
        """
        division = divide_count(len(self.kinds), shares)
        parts = tuple(self._part(division, *part, rows.pages) for part in _parts(rows))
        return PipelineWork(*self._outer(rows), parts)

    def _part(self, division: Sequence[Part], rows: StepRows, wanted: int, pages: int) -> tuple[StageWork, ...]:
        count, width = rows.texts * rows.each, NUMBER * self.program.buffers[STREAM].width
        last, found = len(division) - 1, []
        for rank, layers in enumerate(division):
            given = wanted if rank == last else count
            kinds = self.kinds[layers.start : layers.stop]
            own = [self._layer(kind, rows, count) for kind in kinds[:-1]] + [self._layer(kinds[-1], rows, given)]
            segment = Segment(*(sum(column) for column in zip(*own, self._passing(rows), strict=True)))
            if not rank:
                found.append(StageWork(segment))
                continue
            numbers = plan_length(rows.texts, count, rows.texts * pages, given)
            sizes = PLAN * numbers, width * count, width * given
            found.append(StageWork(segment, *(size + HEADER.size for size in sizes)))
        return tuple(found)

    def _layer(self, layer: int, rows: StepRows, wanted: int) -> Segment:
        """Return the work of a layer that outputs `wanted` rows, without the exchanges around it."""
        key = layer, rows, wanted
        if key not in self._layers:
            part = inner_program(self.program, layer, layer + 1)
            sizes = self._count(part, rows, wanted)[1:-2]
            self._layers[key] = _total(sizes)
        return self._layers[key]

    def _passing(self, rows: StepRows) -> Segment:
        """Return the work of a stage's exchanges, through which rows enter and leave, and of its one-output head."""
        moved = rows.texts * rows.each * 2 * 8 * self.program.buffers[STREAM].width
        return Segment(0, 2 * moved, 3)

    def _outer(self, rows: StepRows) -> _Outer:
        if rows not in self._outers:
            first, last = len(self._segments.embedding), len(self._segments.head)
            sizes = self._count(some_layers(self.program, [0]), rows, rows.texts)
            self._outers[rows] = _Outer(_total(sizes[:first]), _total(sizes[-last:]))
        return self._outers[rows]

    def _count(self, part: Program, rows: StepRows, wanted: int) -> list[WorkSize]:
        work = StepWork(part, False, lambda name: self.sizes.of(part.tensors[name]), {})
        every = np.arange(rows.texts * rows.each, dtype=np.int64)
        given = every if wanted == len(every) else rows.last_rows[rows.texts - wanted :]
        work.add(rows.chunks, given, narrows=rows.each > 1)
        return work.by_operation()

    def _memory_of(self, layer: int) -> RankMemory:
        if layer not in self._kept:
            ops = self._segments.layers[layer]
            position = sum(op.position_bytes(self.program, PAGE) for op in ops)
            self._kept[layer] = RankMemory(self._weights(ops), position)
        return self._kept[layer]

    def _weights(self, ops: Sequence[Op]) -> int:
        """Return the bytes of the matrices of operations, counting each matrix once."""
        names = {name for op in ops for name in matrices_of(op, self.program.tensors)}
        return sum(self.sizes.of(self.program.tensors[name]) for name in names)


def _parts(rows: StepRows) -> list[tuple[StepRows, int]]:
    """Return the parts of a step, each with the number of rows that the last rank returns."""
    if rows.each == 1:
        counts = [min(PART_ROWS, rows.texts - at) for at in range(0, rows.texts, PART_ROWS)]
        return [(rows._replace(texts=count), count) for count in counts]
    found = []
    for _ in range(rows.texts):
        for at in range(0, rows.each, PART_ROWS):
            count = min(PART_ROWS, rows.each - at)
            found.append((StepRows(1, count, rows.position + at), int(at + count == rows.each)))
    return found


def _total(sizes: Sequence[WorkSize]) -> Segment:
    return Segment(sum(size.macs for size in sizes), sum(size.bytes for size in sizes), len(sizes))
