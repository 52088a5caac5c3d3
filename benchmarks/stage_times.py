"""The processor time of each part of a pipeline's steps, with ranks in threads of this process, for cluster_plan.py."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from threading import Thread
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import WorkerError
from intact.executors.base import Exchanger
from intact.executors.native import NativeExecutor
from intact.library.parallel.channel import MOST_NUMBERS, Channel, FrameKind
from intact.library.parallel.pipeline import LocalStage, Pipeline, RemoteStage, Work, divide_layers, stage_step
from intact.library.parallel.plan import decode_plan
from intact.measure.planning.work import PAGE, StepRows
from intact.models import Program
from intact.models.adapters import STREAM
from intact.models.aspects.step import SequenceChunk
from intact.models.layers import outer_program
from intact.models.ops import AllGather


class RankParts(NamedTuple):
    """A rank's seconds of processor time for each part of a step: for its layers, and for its messages."""

    layers: tuple[float, ...]
    messages: tuple[float, ...]


class StepParts(NamedTuple):
    """A step: seconds of the embedding and the head, and the parts of each rank."""

    outer: tuple[float, float]
    ranks: tuple[RankParts, ...]


class StageTimes(NamedTuple):
    """Measurements of a pipeline for each kind of step: the times, the bytes that rank 0 transfers, and the logits."""

    steps: dict[StepRows, StepParts]
    moved: dict[StepRows, int]
    logits: dict[StepRows, bytes]


class _Timed:
    """A stage that records the processor time of each part."""

    def __init__(self, stage: Any) -> None:
        self.stage, self.seconds = stage, list[float]()

    def run(self, work: Work, rows: NDArray[Any]) -> NDArray[Any]:
        begin = time.thread_time()
        found: NDArray[Any] = self.stage.run(work, rows)
        self.seconds.append(time.thread_time() - begin)
        return found

    @property
    def executor(self) -> Any:
        """The stage's executor."""
        return self.stage.executor


class _Rank:
    """Another rank, in a thread."""

    def __init__(self, channel: Channel, stage: _Timed, width: int) -> None:
        self.stage, self.messages = stage, list[float]()
        self._channel, self._step = channel, stage_step(channel, stage, width)  # type: ignore[arg-type]
        Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(WorkerError):
            while True:
                begin = time.thread_time()
                frame = self._channel.receive(FrameKind.STEP, most=8 * MOST_NUMBERS, patient=True)
                self._step(decode_plan(np.frombuffer(frame.data, "<i8")))
                self.messages.append(time.thread_time() - begin - self.stage.seconds[-1])


def measure_stages(program: Program, stages: int, steps: dict[StepRows, int]) -> StageTimes:
    """Measure the steps of a pipeline with equal shares: the minimum over the given number of steps of each kind."""
    pairs = [socket.socketpair() for _ in range(1, stages)]
    channels = [Channel(own, f"rank {number}") for number, (own, _) in enumerate(pairs, 1)]
    others = [Channel(its, "rank 0") for _, its in pairs]
    width, division = program.buffers[STREAM].width, divide_layers(program, (1,) * stages)

    def make(part: Program, exchange: Exchanger) -> NativeExecutor:
        return NativeExecutor(part, threads=1, exchange=exchange)

    own = [_Timed(LocalStage(program, layers, make)) for layers in division]
    ranks = [_Rank(channel, stage, width) for channel, stage in zip(others, own[1:], strict=True)]
    hubs = [_Timed(RemoteStage(channel, width)) for channel in channels]
    pipeline, outer = Pipeline(own[0], hubs), _Outer(program)
    outer.pipeline = pipeline
    found = StageTimes({}, {}, {})
    try:
        for rows, count in steps.items():
            for stage in own:
                stage.executor.reserve_pages(rows.texts * rows.pages)
            chunks, wanted, several = rows.chunks, rows.last_rows, []
            before = sum(channel.sent + channel.received for channel in channels)
            for _ in range(count + 1):
                for stage in (*own, *hubs):
                    stage.seconds.clear()
                for rank in ranks:
                    rank.messages.clear()
                logits = outer.step(chunks, wanted)
                parts = len(own[0].seconds)
                while any(len(rank.messages) < parts for rank in ranks):  # they end a moment after rank 0
                    time.sleep(1e-4)
                hub = [sum(times) for times in zip(*(one.seconds for one in hubs), strict=True)]
                several.append(
                    StepParts(
                        outer.seconds,
                        (
                            RankParts(tuple(own[0].seconds), tuple(hub)),
                            *(RankParts(tuple(one.stage.seconds), tuple(one.messages)) for one in ranks),
                        ),
                    )
                )
            moved = sum(channel.sent + channel.received for channel in channels) - before
            found.steps[rows] = _least(several[1:])
            found.moved[rows], found.logits[rows] = moved // (count + 1), logits.tobytes()
    finally:
        for channel in (*channels, *others):
            channel.close()
        pipeline.close()
        for executor in (outer.executor, *(stage.executor for stage in own)):
            executor.close()
    return found


class _Outer:
    """Embedding and head, recording the time before and after the layers."""

    pipeline: Pipeline

    def __init__(self, program: Program) -> None:
        self.executor = NativeExecutor(outer_program(program), threads=1, exchange=self._exchange)
        self._marks: list[float] = []

    @property
    def seconds(self) -> tuple[float, float]:
        """The seconds of both in the last step."""
        begin, before, after, end = self._marks
        return before - begin, end - after

    def _exchange(self, op: AllGather, own: NDArray[Any] | None, whole: NDArray[Any]) -> None:
        self._marks.append(time.thread_time())
        self.pipeline.exchange(op, own, whole)
        self._marks.append(time.thread_time())

    def step(self, chunks: Sequence[SequenceChunk], wanted: NDArray[np.int64]) -> NDArray[np.int32]:
        self.pipeline.work = Work(chunks, wanted)
        tokens = np.concatenate([chunk.tokens for chunk in chunks])
        pages = -(-len(tokens) // PAGE)
        self.executor.reserve_pages(pages)
        self._marks = [time.thread_time()]
        logits = self.executor.step([SequenceChunk(0, tokens, np.arange(pages, dtype=np.int32))], wanted)
        self._marks.append(time.thread_time())
        return logits


def _least(several: Sequence[StepParts]) -> StepParts:
    """Return the minimum time of each part."""
    return StepParts(
        _each([one.outer for one in several]),  # type: ignore[arg-type]
        tuple(
            RankParts(*(_each(parts) for parts in zip(*ranks, strict=True)))
            for ranks in zip(*(one.ranks for one in several), strict=True)
        ),
    )


def _each(several: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    return tuple(map(min, zip(*several, strict=True)))


def least_stage_times(rounds: Sequence[StageTimes]) -> StageTimes:
    """Return the minimum time of each part over rounds of the same measurement."""
    return rounds[0]._replace(steps={rows: _least([one.steps[rows] for one in rounds]) for rows in rounds[0].steps})
