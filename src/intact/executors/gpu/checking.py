"""Compare a device with the CPU: at the start, and every n-th step. A wrong driver is found before it gives answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import IntactError
from intact.executors.base import Executor
from intact.executors.gpu.plan import Dispatch, DispatchPlan
from intact.executors.gpu.running import PlanRunner
from intact.executors.reference import ReferenceExecutor
from intact.models.aspects.step import SequenceChunk
from intact.models.ops import Embed, Logits
from intact.models.program import Program

STEPS: Final = (9, 3, 1)
"""Rows of the steps of the check: one for each tile of the products."""


class DeviceMismatchError(IntactError):
    """A device computes other bits than the CPU."""


def check_steps(program: Program, page_size: int) -> list[SequenceChunk]:
    """Return the chunks that are compared at the start, each a step: one text in consecutive chunks.

    An encoder reads a text whole.
    """
    embedding = next((op for op in program.ops if isinstance(op, Embed)), None)
    count = program.vocabulary if embedding is None else program.tensors[embedding.weight].shape[0]
    tokens = (np.arange(sum(STEPS)) * 7919 % count).astype(np.int32)
    pages = np.arange(-(-sum(STEPS) // page_size), dtype=np.int32)
    if program.is_encoder:
        return [SequenceChunk(0, tokens[: STEPS[0]], pages)]
    starts = np.cumsum([0, *STEPS])
    pairs = zip(starts.tolist(), STEPS, strict=False)
    return [SequenceChunk(start, tokens[start : start + size], pages) for start, size in pairs]


def compare(gpu: Executor, cpu: Executor, chunks: Sequence[SequenceChunk]) -> int | None:
    """Run the same steps on both; return the number of the first step with other logits, or None."""
    for executor in (gpu, cpu):
        executor.reserve_pages(len(chunks[0].pages))
    for i, chunk in enumerate(chunks):
        rows = np.arange(len(chunk.tokens))
        want = cpu.step([chunk], rows).copy()
        if not np.array_equal(gpu.step([chunk], rows), want):
            return i
        if not np.array_equal(gpu.head_inputs(rows), cpu.head_inputs(rows)):
            return i
    return None


class FirstDifference(NamedTuple):
    """The first operation whose result differs: its number in the program, its kind, and the shader that ends it."""

    number: int
    kind: str
    shader: str

    def __str__(self) -> str:
        return f"operation {self.number} ({self.kind}, shader {self.shader})"


def first_difference(
    reference: ReferenceExecutor,
    runner: PlanRunner,
    plan: DispatchPlan,
    upload: Callable[[], None],
    chunks: Sequence[SequenceChunk],
) -> FirstDifference:
    """Find the first operation of a step that differs from the definition, running dispatches one by one.

    Parameters
    ----------
    reference : ReferenceExecutor
        With the same cache as the device before the step.
    upload : callable
        Uploads the step.
    """
    count = sum(len(chunk.tokens) for chunk in chunks)
    trace = reference.trace(chunks, np.arange(count))
    upload()
    done = -1
    for i, dispatch in enumerate(plan.dispatches):
        runner.run_one(i, count)
        following = plan.dispatches[i + 1].first_op if i + 1 < len(plan.dispatches) else dispatch.op
        while done + 1 < following:
            done += 1
            op, step = next(trace)
            for name in op.writes():
                if not np.array_equal(_rows(runner, plan, name, count), step.rows[name]):
                    return FirstDifference(done, type(op).__name__, _shader_of(plan, done).shader)
    last = plan.dispatches[-1]
    return FirstDifference(last.op, Logits.__name__, last.shader)


def _shader_of(plan: DispatchPlan, op: int) -> Dispatch:
    """Return the dispatch that completes an operation."""
    return [one for one in plan.dispatches if one.first_op <= op <= one.op][-1]


def _rows(runner: PlanRunner, plan: DispatchPlan, name: str, count: int) -> NDArray[np.int64]:
    part = plan.buffers[name]
    words = [runner.read_row(row, part.offset, part.width * (1 + part.wide)) for row in range(count)]
    kind = np.int64 if part.wide else np.int32
    return np.stack([row.view(kind) for row in words]).astype(np.int64)


class Rechecker:
    """Computes the last row of a sequence again on the CPU, every n-th step.

    Parameters
    ----------
    cpu : Executor
        With the same layout of pages.
    interval : int
        Number of steps from one check to the next.
    name : str
        The device, for the error.
    """

    def __init__(self, cpu: Executor, interval: int, name: str) -> None:
        self._cpu, self._interval, self._name = cpu, interval, name
        self._steps = self.checked = 0

    def after(
        self,
        chunks: Sequence[SequenceChunk],
        wanted: NDArray[np.int64],
        logits: NDArray[np.int32],
        read_page: Callable[[int], NDArray[np.uint8]],
    ) -> None:
        """Count a step; in every n-th one, compare a wanted row that ends a chunk without a tree.

        Raises
        ------
        DeviceMismatchError
            If the row's logits differ.
        """
        self._steps += 1
        if self._steps % self._interval:
            return
        ends = np.cumsum([len(chunk.tokens) for chunk in chunks]) - 1
        for chunk, end in zip(chunks, ends.tolist(), strict=True):
            found = np.flatnonzero(wanted == end)
            if len(found) and chunk.parents is None:
                self._compare(chunk, logits[found[0]], read_page)
                return

    def _compare(
        self, chunk: SequenceChunk, logits: NDArray[np.int32], read_page: Callable[[int], NDArray[np.uint8]]
    ) -> None:
        used = chunk.pages[: -(-chunk.end // self._cpu.page_size)]
        self._cpu.reserve_pages(len(used))
        for i, page in enumerate(used.tolist()):
            self._cpu.write_page(i, read_page(page))
        row = chunk._replace(
            position=chunk.end - 1, tokens=chunk.tokens[-1:], pages=np.arange(len(used), dtype=np.int32)
        )
        self.checked += 1
        if not np.array_equal(self._cpu.step([row], np.zeros(1, np.int64))[0], logits):
            raise DeviceMismatchError(
                f"{self._name}: position {chunk.end - 1} of a text has other logits than on the CPU; answers of this "
                "device may be wrong: load with executor='native'"
            )
