"""Executors of rank 0: they run its own part and send each step to the other ranks (as in TPI-LLM, 2410.00531)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ModelError, ParameterError, WorkerError
from intact.executors.base import Executor
from intact.library.parallel.channel import MOST_NUMBERS, Channel, FrameKind
from intact.library.parallel.plan import StepPlan, decode_plan, encode_plan
from intact.models.aspects.step import SequenceChunk
from intact.models.ops import AllGather
from intact.numerics.sampling import Draw


def put(op: AllGather, found: NDArray[Any], whole: NDArray[Any]) -> None:
    """Write the columns of all ranks to an exchange's target, or add them to it."""
    if op.accumulate:
        whole += found
    else:
        whole[:] = found


class RankHub:
    """Rank 0's side of exchanges: receives the columns of every other rank, then sends each rank the columns it lacks.

    Ranks send before they receive, and rank 0 receives before it sends, so that full buffers cannot cause a deadlock.
    """

    def __init__(self, channels: Sequence[Channel]) -> None:
        self.channels, self.exchanges = channels, 0

    def exchange(self, op: AllGather, own: NDArray[Any] | None, whole: NDArray[Any]) -> None:
        """Run an exchange; see `Exchanger`."""
        self.exchanges += 1
        starts = np.cumsum([0, *op.widths]).tolist()
        found = np.empty_like(whole)
        if own is not None:
            found[:, : op.widths[0]] = own
        for rank, channel in enumerate(self.channels, 1):
            if op.widths[rank]:
                shape = len(whole), op.widths[rank]
                found[:, starts[rank] : starts[rank + 1]] = channel.receive_rows(shape, found.dtype, self.exchanges)
        for rank, channel in enumerate(self.channels, 1):
            others = np.concatenate([found[:, : starts[rank]], found[:, starts[rank + 1] :]], axis=1)
            channel.send_rows(others, self.exchanges)
        put(op, found, whole)


class RankSpoke:
    """The side of exchanges on a rank other than 0."""

    def __init__(self, channel: Channel, rank: int) -> None:
        self.channel, self.rank, self.exchanges = channel, rank, 0

    def exchange(self, op: AllGather, own: NDArray[Any] | None, whole: NDArray[Any]) -> None:
        """Run an exchange; see `Exchanger`."""
        self.exchanges += 1
        start, width = sum(op.widths[: self.rank]), op.widths[self.rank]
        if own is not None:
            self.channel.send_rows(own, self.exchanges)
        others = self.channel.receive_rows((len(whole), whole.shape[1] - width), whole.dtype, self.exchanges)
        found = np.empty_like(whole)
        found[:, :start], found[:, start + width :] = others[:, :start], others[:, start:]
        if own is not None:
            found[:, start : start + width] = own
        put(op, found, whole)


class RanksExecutor:
    """Base class of executors that span several processes: everything except their steps.

    Parameters
    ----------
    cache : Executor
        Executor of rank 0's part; its pages correspond to the other ranks' pages.
    head : Executor
        Executor that computes the logits and draws, in this process.
    channels : sequence of Channel
        Channels to the other ranks.
    page_bytes : int
        Bytes per page on this machine, summed over the ranks that run here.
    way : str
        Name of the kind of parallelism, for error messages.
    end : function
        Ends the other ranks; called once.

    Notes
    -----
    If a rank is lost during a step, or the step is interrupted, the ranks' caches no longer agree: the other ranks are
    ended, and all later calls raise the same `WorkerError`.
    """

    def __init__(
        self,
        cache: Executor,
        head: Executor,
        channels: Sequence[Channel],
        *,
        page_bytes: int,
        way: str,
        end: Callable[[], None],
    ) -> None:
        self.cache, self.head, self.channels, self._way, self._end = cache, head, channels, way, end
        self.page_size, self.profile, self.bits, self.trees = cache.page_size, cache.profile, cache.bits, cache.trees
        self.layout = f"{cache.layout} of rank 0 of {1 + len(channels)}"
        self._page_bytes, self._own = page_bytes, os.getpid()
        self._lost = ""

    @property
    def page_bytes(self) -> int:
        """Bytes per page, summed over all ranks on this machine."""
        return self._page_bytes

    @property
    def saturated(self) -> int:
        """Number of recurrent-state values that have reached the limit so far, in rank 0's layers."""
        return self.cache.saturated

    @property
    def moved(self) -> dict[str, int]:
        """Bytes that rank 0 has sent and received so far."""
        return {
            "sent": sum(channel.sent for channel in self.channels),
            "received": sum(channel.received for channel in self.channels),
        }

    def close(self) -> None:
        """End the other ranks, and free weights, pages and threads."""
        self._lost = self._lost or "the model has been closed"
        self._end()
        self.cache.close()
        self.head.close()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Raise if ranks are lost; end all of them if the body fails."""
        if os.getpid() != self._own:
            raise WorkerError(
                f"this process was forked from one of {self._way} and cannot use its ranks: load the model in "
                "this process"
            )
        if self._lost:
            raise WorkerError(self._lost)
        try:
            yield
        except MemoryError:
            raise  # while reserving pages: the ranks' caches still agree
        except BaseException as error:
            stopped = f"{self._way} stopped during a step ({type(error).__name__}); load the model again"
            self._lost = str(error) if isinstance(error, WorkerError) else stopped
            self._end()
            raise

    def reserve_pages(self, count: int) -> None:
        """Allocate pages on every rank until there are `count`."""
        with self.together():
            for channel in self.channels:
                channel.send(FrameKind.RESERVE, place=count)
            failed = False
            try:
                self.cache.reserve_pages(count)
            except MemoryError:
                failed = True
            for channel in self.channels:
                failed |= channel.receive(FrameKind.DONE, FrameKind.NO_MEMORY).kind == FrameKind.NO_MEMORY
            if failed:
                raise MemoryError

    def copy_page(self, source: int, target: int) -> None:
        """Copy one page to another."""
        with self.together():
            for channel in self.channels:
                channel.send_numbers(FrameKind.COPY, np.array([source, target]))
            self.cache.copy_page(source, target)

    def read_page(self, page: int) -> NDArray[np.uint8]:
        """Raise, because parts of the page are in other processes."""
        raise ParameterError(f"{self._way} does not keep pages in files: load the model in one process")

    def write_page(self, page: int, data: NDArray[np.uint8]) -> None:
        """Raise for the same reason as `read_page`."""
        self.read_page(page)

    def move(self, pages: NDArray[np.int32], sources: NDArray[np.int64], targets: NDArray[np.int64]) -> None:
        """Move cached slots of one sequence towards its beginning, in ascending order."""
        with self.together():
            numbers = np.concatenate([np.array([len(pages), len(sources)]), pages, sources, targets])
            for channel in self.channels:
                channel.send_numbers(FrameKind.MOVE, numbers)
            self.cache.move(pages, sources, targets)

    def head_inputs(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the head's input for some rows of the last step's logits; rank 0 has the whole rows."""
        return self.head.head_inputs(rows)

    def draw(self, logits: NDArray[np.int32], draws: Sequence[Draw]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw tokens; return them with their log-probabilities (Q24)."""
        return self.head.draw(logits, draws)

    def top(
        self, logits: NDArray[np.int32], rows: NDArray[np.int64], k: int
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the k likeliest tokens of some rows, with their log-probabilities."""
        return self.head.top(logits, rows, k)

    def likeliest(self, logits: NDArray[np.int32], rows: NDArray[np.int64], k: int) -> NDArray[np.int32]:
        """Return only the tokens of `top`."""
        return self.head.likeliest(logits, rows, k)

    def log_probabilities(self, logits: NDArray[np.int32], tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the log-probability (nats, Q24) of one token of each row."""
        return self.head.log_probabilities(logits, tokens)


def check_tokens(chunks: Sequence[SequenceChunk], vocabulary: int) -> None:
    """Raise for tokens outside the embedding's vocabulary, before the step is sent to other ranks.

    Raises
    ------
    ParameterError
        If there is such a token.
    """
    for chunk in chunks:
        if len(chunk.tokens) and not 0 <= int(chunk.tokens.min()) <= int(chunk.tokens.max()) < vocabulary:
            raise ParameterError("a token is outside the vocabulary")


class ParallelExecutor(RanksExecutor):
    """Runs a program that is split between this process and others (tensor parallelism).

    Parameters
    ----------
    local : Executor
        Executor of rank 0's part, with the exchanges of `hub`.
    hub : RankHub
        The connections.
    outputs : sequence of int
        Number of logits that each rank computes.
    page_bytes, end
        As in `RanksExecutor`.
    vocabulary : int
        Size of the embedding's vocabulary.
    """

    def __init__(
        self,
        local: Executor,
        hub: RankHub,
        outputs: Sequence[int],
        *,
        page_bytes: int,
        vocabulary: int,
        end: Callable[[], None],
    ) -> None:
        super().__init__(local, local, hub.channels, page_bytes=page_bytes, way="tensor parallel", end=end)
        self.hub, self._outputs, self._vocabulary = hub, list(outputs), vocabulary

    @property
    def description(self) -> dict[str, object]:
        """Executor, tier and threads of rank 0, and the number of ranks."""
        return {**self.cache.description, "tensor_parallel": len(self._outputs)}

    @property
    def traffic(self) -> dict[str, int]:
        """Bytes sent and received by rank 0, and the number of exchanges so far."""
        return {**self.moved, "exchanges": self.hub.exchanges}

    def step(self, chunks: Sequence[SequenceChunk], wanted: NDArray[np.int64]) -> NDArray[np.int32]:
        """Run a step on all ranks; return the logits of the wanted rows in Q16, int32 (wanted, vocabulary)."""
        return self._step(chunks, wanted, np.dtype(np.int32))

    def step_float(self, chunks: Sequence[SequenceChunk], wanted: NDArray[np.int64]) -> NDArray[np.float32]:
        """Run a step on all ranks; return the logits of the wanted rows as float32 (wanted, vocabulary)."""
        return self._step(chunks, wanted, np.dtype(np.float32))

    def _step(self, chunks: Sequence[SequenceChunk], wanted: NDArray[np.int64], dtype: np.dtype[Any]) -> NDArray[Any]:
        check_tokens(chunks, self._vocabulary)
        as_float = dtype == np.float32
        plan = encode_plan(chunks, wanted, as_float)
        logits = np.empty((len(wanted), sum(self._outputs)), dtype)
        with self.together():
            for channel in self.channels:
                channel.send_numbers(FrameKind.STEP, plan)
            own = self.cache.step_float(chunks, wanted) if as_float else self.cache.step(chunks, wanted)
            if not len(wanted):
                return logits
            at = self._outputs[0]
            logits[:, :at] = own
            for width, channel in zip(self._outputs[1:], self.channels, strict=True):
                logits[:, at : at + width] = channel.receive_rows((len(wanted), width), dtype, 0)
                at += width
        return logits


def serve_rank(channel: Channel, executor: Executor, step: Callable[[StepPlan], None]) -> None:
    """Execute rank 0's requests until it disconnects, which raises a WorkerError.

    Parameters
    ----------
    executor : Executor
        Executor of this rank's part, which holds the pages.
    step : function
        Runs a step and sends its result.
    """
    while True:
        frame = channel.receive(
            FrameKind.STEP, FrameKind.RESERVE, FrameKind.COPY, FrameKind.MOVE, most=8 * MOST_NUMBERS, patient=True
        )
        if len(frame.data) % 8:
            raise ModelError("rank 0 sent data that is not a list of 64-bit integers")
        numbers = np.frombuffer(frame.data, "<i8")
        match frame.kind:
            case FrameKind.STEP:
                step(decode_plan(numbers))
            case FrameKind.RESERVE:
                try:
                    executor.reserve_pages(frame.place)
                except MemoryError:
                    channel.send(FrameKind.NO_MEMORY)
                else:
                    channel.send(FrameKind.DONE)
            case FrameKind.COPY:
                executor.copy_page(int(numbers[0]), int(numbers[1]))
            case _:
                pages, count = int(numbers[0]), int(numbers[1])
                lists = np.split(numbers[2:], [pages, pages + count])
                executor.move(lists[0].astype(np.int32), lists[1], lists[2])


def tensor_step(channel: Channel, executor: Executor) -> Callable[[StepPlan], None]:
    """Return the step function of a tensor-parallel rank, which sends the rank's logits for the wanted rows."""

    def step(plan: StepPlan) -> None:
        run = executor.step_float if plan.as_float else executor.step
        logits = run(plan.chunks, plan.wanted)
        if len(plan.wanted):
            channel.send_rows(logits, 0)

    return step
