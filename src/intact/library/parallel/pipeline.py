"""Pipeline parallelism: each rank has some layers, and rows of the residual stream pass from one rank to the next.

Rank 0 embeds tokens, runs the first layers, and has the head; the last rank sends back only the rows whose logits are
wanted. A step with many rows is split into parts, so that ranks work on different parts at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError, WorkerError
from intact.executors.base import Exchanger, Executor
from intact.library.parallel.channel import Channel, FrameKind
from intact.library.parallel.cut import divide
from intact.library.parallel.executor import RanksExecutor, check_tokens
from intact.library.parallel.plan import StepPlan, encode_plan
from intact.models.aspects.cutting import Part, Parts
from intact.models.aspects.step import SequenceChunk
from intact.models.layers import inner_program, segments
from intact.models.ops import AllGather
from intact.models.program import Program

MOST_ROWS: Final = 1 << 16
"""Limit on the number of rows in a step."""
PART_ROWS: Final = 64
"""Number of rows in a part of a step. Smaller parts would shorten the wait for the first, but read weights more often.
"""


def divide_layers(program: Program, shares: Sequence[int]) -> Parts:
    """Divide the layers between ranks in proportion to their shares.

    Raises
    ------
    ParameterError
        If there are fewer layers than ranks, or the program cannot be split between layers.
    """
    return divide_count(len(segments(program).layers), shares)


def divide_count(count: int, shares: Sequence[int]) -> Parts:
    """Divide `count` layers between ranks; see `divide_layers`."""
    if count < len(shares):
        raise ParameterError(f"{count} layers cannot be divided between {len(shares)} processes; use at most {count}")
    return divide(count, shares)


class Work(NamedTuple):
    """A part of a step: its chunks, and the numbers of the rows that the last rank returns."""

    chunks: Sequence[SequenceChunk]
    wanted: NDArray[np.int64]

    @property
    def rows(self) -> int:
        """The number of rows."""
        return sum(len(chunk.tokens) for chunk in self.chunks)

    @property
    def all_rows(self) -> Work:
        """The same work with all rows wanted, as the next rank needs them."""
        return self._replace(wanted=np.arange(self.rows))


class Stage(Protocol):
    """The layers of one rank."""

    def run(self, work: Work, rows: NDArray[Any]) -> NDArray[Any]:
        """Given the rows before these layers, return the wanted rows after them."""


class LocalStage:
    """Layers that this process runs.

    Parameters
    ----------
    layers : Part
        Range of layer numbers.
    make : function
        Returns an executor of a program.

    Attributes
    ----------
    executor : Executor
        Executor of only these layers, with their cache.
    """

    def __init__(self, program: Program, layers: Part, make: Callable[[Program, Exchanger], Executor]) -> None:
        self.layers, self._rows = layers, _Passing()
        self.executor = make(inner_program(program, *layers), self._rows.exchange)

    def run(self, work: Work, rows: NDArray[Any]) -> NDArray[Any]:
        """Given the rows before these layers, return the wanted rows after them."""
        self._rows.entering, self._rows.leaving = rows, rows[:0]
        self.executor.step(work.chunks, work.wanted)
        left = self._rows.leaving
        # executors may drop unwanted rows in the last layer
        return left[work.wanted] if len(left) == len(rows) else left


class _Passing:
    """The two exchanges of a program of layers: the first puts rows in, the second takes rows out."""

    entering: NDArray[Any]
    leaving: NDArray[Any]

    def exchange(self, op: AllGather, own: NDArray[Any] | None, whole: NDArray[Any]) -> None:
        """Run an exchange; see `Exchanger`."""
        if op.accumulate:
            self.leaving = whole.copy()
        else:
            whole[:] = self.entering


class RemoteStage:
    """Layers of another rank.

    Parameters
    ----------
    width : int
        Width of the residual stream.
    """

    def __init__(self, channel: Channel, width: int) -> None:
        self._channel, self._width, self._count = channel, width, 0

    def run(self, work: Work, rows: NDArray[Any]) -> NDArray[Any]:
        """Given the rows before these layers, return the wanted rows after them; the rank is not sent any tokens."""
        self._count += 1
        chunks = [chunk._replace(tokens=np.zeros_like(chunk.tokens)) for chunk in work.chunks]
        self._channel.send_numbers(FrameKind.STEP, encode_plan(chunks, work.wanted, False))
        self._channel.send_rows(rows, self._count)
        dtype = np.dtype(np.float32 if rows.dtype == np.float32 else np.int64)
        return self._channel.receive_rows((len(work.wanted), self._width), dtype, self._count)


def stage_step(channel: Channel, stage: LocalStage, width: int) -> Callable[[StepPlan], None]:
    """Return the step function of a pipeline rank, which receives rows and sends them on after its layers."""
    dtype, count = np.dtype(np.float32 if stage.executor.profile == "fp32" else np.int64), 0

    def step(plan: StepPlan) -> None:
        nonlocal count
        count += 1
        work = Work(plan.chunks, plan.wanted)
        if work.rows > MOST_ROWS:
            raise WorkerError(f"rank 0 sent a step of {work.rows:,} rows; expected at most {MOST_ROWS:,}")
        channel.send_rows(stage.run(work, channel.receive_rows((work.rows, width), dtype, count)), count)

    return step


class Pipeline:
    """The stages of a model, in sequence.

    Parameters
    ----------
    first : Stage
        Stage of this process.
    others : sequence of Stage
        Stages of the other ranks.
    part_rows : int
        Number of rows in a part of a step.

    Attributes
    ----------
    work : Work
        The step that is about to run.
    parts : int
        Number of parts of steps run so far.
    """

    work: Work

    def __init__(self, first: Stage, others: Sequence[Stage], part_rows: int = PART_ROWS) -> None:
        self._stages, self._part_rows, self.parts = (first, *others), part_rows, 0
        self._threads = [ThreadPoolExecutor(1, f"rank-{rank}") for rank in range(1, 1 + len(others))]

    def exchange(self, op: AllGather, own: NDArray[Any] | None, whole: NDArray[Any]) -> None:
        """Pass the rows of a step through all stages, and write the wanted ones back to their places."""
        at, last = 0, len(self._stages) - 1
        running: list[tuple[NDArray[np.int64], Future[NDArray[Any]]]] = []
        for work in split(self.work, self._part_rows):
            works = [work.all_rows] * last + [work]
            future: Future[NDArray[Any]] = Future()
            future.set_result(self._stages[0].run(works[0], whole[at : at + work.rows]))
            for stage, own_work, thread in zip(self._stages[1:], works[1:], self._threads, strict=True):
                future = thread.submit(self._run_next, stage, own_work, future)
            running.append((at + work.wanted, future))
            at += work.rows
        self.parts += len(running)
        for wanted, future in running:
            whole[wanted] = future.result()

    @staticmethod
    def _run_next(stage: Stage, work: Work, before: Future[NDArray[Any]]) -> NDArray[Any]:
        return stage.run(work, before.result())

    def close(self) -> None:
        """Shut down the threads."""
        for thread in self._threads:
            thread.shutdown(cancel_futures=True)


def split(work: Work, most: int) -> Iterator[Work]:
    """Split a step into consecutive parts of at most `most` rows; trees of drafts are not split."""
    part: list[SequenceChunk] = []
    start = count = 0
    for chunk in work.chunks:
        at = 0
        while at < len(chunk.tokens):
            length = len(chunk.tokens) - at
            if part and (count >= most or (chunk.parents is not None and count + length > most)):
                yield _some(work, part, start, count)
                part, start, count = [], start + count, 0
            if chunk.parents is None:
                length = min(length, most - count)
                part.append(chunk._replace(position=chunk.position + at, tokens=chunk.tokens[at : at + length]))
            else:
                part.append(chunk)
            at, count = at + length, count + length
    if part:
        yield _some(work, part, start, count)


def _some(work: Work, chunks: list[SequenceChunk], start: int, count: int) -> Work:
    """Return the part of a step with these chunks and with `count` rows starting at `start`."""
    chosen = work.wanted[(work.wanted >= start) & (work.wanted < start + count)]
    return Work(chunks, np.unique(chosen) - start)


class StageMemory(NamedTuple):
    """A rank's layers, bytes of weights as counted by its executor, and bytes per cache page."""

    layers: Part
    weight_bytes: int
    page_bytes: int


class PipelineExecutor(RanksExecutor):
    """Runs a program whose layers are divided between this process and others.

    Parameters
    ----------
    outer : Executor
        Executor of the embedding and the head; its exchange belongs to `pipeline`.
    stage : LocalStage
        The first layers.
    pipeline : Pipeline
        All stages.
    channels, page_bytes, end
        As in `RanksExecutor`.
    program : Program
        The whole program.
    memory : sequence of StageMemory
        Memory of each rank.
    """

    def __init__(
        self,
        outer: Executor,
        stage: LocalStage,
        pipeline: Pipeline,
        channels: Sequence[Channel],
        *,
        page_bytes: int,
        program: Program,
        memory: Sequence[StageMemory],
        end: Callable[[], None],
    ) -> None:
        super().__init__(stage.executor, outer, channels, page_bytes=page_bytes, way="pipeline parallel", end=end)
        self.trees = self.trees and not program.recurrent()  # on any rank
        self.pipeline, self.memory, self._vocabulary = pipeline, tuple(memory), program.vocabulary
        self._room = 0

    @property
    def description(self) -> dict[str, object]:
        """Executor, tier and threads of rank 0, and the number of ranks."""
        facts = self.head.description
        if "weight_bytes" in facts:
            facts["weight_bytes"] = self.memory[0].weight_bytes
        return {**facts, "pipeline_parallel": len(self.memory)}

    @property
    def traffic(self) -> dict[str, int]:
        """Bytes sent and received by rank 0, and the number of parts of steps so far."""
        return {**self.moved, "parts": self.pipeline.parts}

    def close(self) -> None:
        """End the other ranks, and free weights, pages and threads."""
        super().close()
        self.pipeline.close()

    def step(self, chunks: Sequence[SequenceChunk], wanted: NDArray[np.int64]) -> NDArray[np.int32]:
        """Run a step on all ranks; return the logits of the wanted rows in Q16, int32 (wanted, vocabulary)."""
        check_tokens(chunks, self._vocabulary)
        with self.together():
            return self.head.step([self._begin(chunks, wanted)], wanted)

    def step_float(self, chunks: Sequence[SequenceChunk], wanted: NDArray[np.int64]) -> NDArray[np.float32]:
        """Run a step on all ranks; return the logits of the wanted rows as float32 (wanted, vocabulary)."""
        check_tokens(chunks, self._vocabulary)
        with self.together():
            return self.head.step_float([self._begin(chunks, wanted)], wanted)

    def _begin(self, chunks: Sequence[SequenceChunk], wanted: NDArray[np.int64]) -> SequenceChunk:
        """Pack a step's rows into one sequence for the embedding and the head, which have no cache."""
        self.pipeline.work = Work(chunks, wanted)
        tokens = np.concatenate([chunk.tokens for chunk in chunks])
        pages = -(-len(tokens) // self.page_size)
        if pages > self._room:
            self.head.reserve_pages(pages)
            self._room = pages
        return SequenceChunk(0, tokens, np.arange(pages, dtype=np.int32))
