"""The ranks of a cut program in one process, a thread each, which exchange columns through lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Barrier, Thread
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.executors.base import Exchanger, Executor
from intact.library.parallel.cut import cut_program
from intact.models.aspects.step import SequenceChunk
from intact.models.ops import AllGather
from intact.models.program import Program
from support.patience import PATIENCE

Make = Callable[[Program, Exchanger | None], Executor]
Step = tuple[Sequence[SequenceChunk], NDArray[np.int64]]


class Meeting:
    """Where the ranks' exchanges meet."""

    def __init__(self, ranks: int) -> None:
        self.parts: list[NDArray[Any] | None] = [None] * ranks
        self.barrier = Barrier(ranks)

    def exchanger(self, rank: int) -> Exchanger:
        def exchange(op: AllGather, own: NDArray[Any] | None, whole: NDArray[Any]) -> None:
            assert (0 if own is None else own.shape[1]) == op.widths[rank]
            self.parts[rank] = None if own is None else own.copy()
            self.barrier.wait(PATIENCE)
            found = np.concatenate([part for part in self.parts if part is not None], axis=1)
            self.barrier.wait(PATIENCE)
            assert (found.shape, found.dtype) == (whole.shape, whole.dtype)
            whole[:] = whole + found if op.accumulate else found

        return exchange


def run_ranks(program: Program, make: Make, shares: Sequence[int], steps: Sequence[Step]) -> list[NDArray[Any]]:
    """The logits of steps, as the ranks of a program have them together."""
    meeting = Meeting(len(shares))
    results: list[Any] = [None] * len(shares)

    def run(rank: int) -> None:
        try:
            results[rank] = run_steps(make(cut_program(program, shares, rank), meeting.exchanger(rank)), steps)
        except BaseException as error:
            results[rank] = error
            meeting.barrier.abort()

    threads = [Thread(target=run, args=(rank,)) for rank in range(len(shares))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [np.concatenate(parts, axis=1) for parts in zip(*results, strict=True)]


def run_steps(executor: Executor, steps: Sequence[Step]) -> list[NDArray[Any]]:
    """The logits of steps, copied."""
    executor.reserve_pages(8)
    found = [executor.step(*step).copy() for step in steps]
    executor.close()
    return found
