"""Measure the costs of this machine: real steps of a model, whole and split over several ranks with real exchanges.

Ranks run in threads of this process, connected by sockets. Each part of a step, from one exchange to the next, is timed
by the processor time of its thread. The minimum over several steps and rounds is used and, for parts with equal work,
such as those of all layers, the lower quartile, so other load on the machine hardly shows.

A split in two cannot separate the cost of messages from that of exchanges, because each exchange has two messages. The
cost of a message is therefore measured on rank 0's side of exchanges with one to three other ranks that never make it
wait, and the split gives the rest.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise, product
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.checkpoints.formats import open_checkpoint
from intact.executors.base import Exchanger
from intact.executors.native import NativeExecutor
from intact.library import load
from intact.library.parallel.channel import HEADER, Channel
from intact.library.parallel.cut import cut_program, divide
from intact.library.parallel.executor import RankHub, RankSpoke
from intact.measure.planning.fit import Observation, fit_rates
from intact.measure.planning.machines import Rates
from intact.measure.planning.work import NUMBER, ModelWork, RankWork, Segment, StepRows
from intact.models import Program, build_program
from intact.models.ops import AllGather

STEPS: Final = {StepRows(1, 1, 64): 24, StepRows(8, 1, 64): 12, StepRows(1, 128, 0): 6}
"""Measured steps, with their numbers of repeats: a token of one sequence, of eight, and a prompt."""
_NONE: Final = Segment(0, 0, 0)
_ROUNDS: Final = 3
"""Rounds of `measure_rates`, alternating between the whole model and the model split in two."""
_SHARE: Final = {rows: count // 2 for rows, count in STEPS.items()}
_ROWS: Final = (1, 8)
_WIDTHS: Final = (512, 1536)
_OTHERS: Final = (1, 2, 3)
"""Rows, columns and other ranks of the exchanges that measure the cost of a message."""
_EXCHANGES: Final = 60
_BUFFER: Final = 1 << 18
"""Bytes in a socket's buffer, larger than any message of these exchanges."""
_COMPUTING: Final = ("macs", "bytes", "operation")
_ENGINE: Final = 24
"""Number of tokens generated to measure the cost of a step excluding its operations."""


class RankTimes(NamedTuple):
    """The times of a step on one rank.

    Attributes
    ----------
    work : RankWork
        The counted work.
    segments : tuple of float
        Seconds between exchanges.
    exchanges : tuple of float
        Processor seconds in exchanges.
    """

    work: RankWork
    segments: tuple[float, ...]
    exchanges: tuple[float, ...]

    @property
    def busy(self) -> float:
        """Total seconds of both."""
        return sum(self.segments) + sum(self.exchanges)

    def observations(self, rank: int, messages: Messages) -> list[Observation]:
        """Return the times of the work and, if there are any, of the exchanges."""
        found = [Observation(self.work.total, sum(self.segments))]
        if count := len(self.exchanges):
            hub, spoke = (0, count) if rank else (count, 0)
            rows = sum(transfer.whole for transfer in self.work.transfers)
            found.append(Observation(_NONE, sum(self.exchanges), *messages, hub=hub, spoke=spoke, rows=rows))
        return found


class CutTimes(NamedTuple):
    """Measurements of a model with one split.

    Attributes
    ----------
    ranks : dict of StepRows to tuple of RankTimes
        Times of the ranks, for each kind of step.
    moved : dict of StepRows to int
        Bytes that exchanges moved to and from rank 0 in a step.
    logits : dict of StepRows to bytes
        The logits of the requested rows, of all ranks.
    """

    ranks: dict[StepRows, tuple[RankTimes, ...]]
    moved: dict[StepRows, int]
    logits: dict[StepRows, bytes]


def least_times(rounds: Sequence[CutTimes]) -> CutTimes:
    """Return the minimum time of each part over rounds of the same measurement."""
    first, ranks = rounds[0], dict[StepRows, tuple[RankTimes, ...]]()
    for rows, times in first.ranks.items():
        ranks[rows] = tuple(
            RankTimes(
                one.work,
                tuple(map(min, zip(*(found.ranks[rows][rank].segments for found in rounds), strict=True))),
                tuple(map(min, zip(*(found.ranks[rows][rank].exchanges for found in rounds), strict=True))),
            )
            for rank, one in enumerate(times)
        )
    return first._replace(ranks=ranks)


class Messages(NamedTuple):
    """Number of messages that a rank sends and receives in the exchanges of a step, and their bytes."""

    number: int
    bytes: int


def count_messages(works: Sequence[RankWork]) -> list[Messages]:
    """Count the messages of each rank in a step; a rank without columns in an exchange sends none."""
    found = []
    for work in works[1:]:
        sizes = [size for transfer in work.transfers for size in transfer if size > HEADER.size]
        found.append(Messages(len(sizes), sum(sizes)))
    return [Messages(*(sum(column) for column in zip((0, 0), *found, strict=True))), *found]


def measure_cut(
    program: Program, shares: Sequence[int], threads: int = 1, *, steps: dict[StepRows, int] | None = None
) -> CutTimes:
    """Measure the steps of a program that is split by shares.

    Parameters
    ----------
    threads : int
        Threads per rank. With more than one, wall-clock time is measured instead of processor time.
    steps : dict of StepRows to int, optional
        Kinds of steps, with the number of each, after one warm-up step.

    Raises
    ------
    ParameterError
        If the program cannot be split this way.
    """
    work = ModelWork.of(program)
    pairs = [socket.socketpair() for _ in shares[1:]]
    channels = [Channel(own, f"rank {number}") for number, (own, _) in enumerate(pairs, 1)]
    others = [Channel(its, "rank 0") for _, its in pairs]
    hub = RankHub(channels)
    sides: list[Exchanger] = [hub.exchange]
    sides += [RankSpoke(channel, rank).exchange for rank, channel in enumerate(others, 1)]
    parts = [program if len(shares) == 1 else cut_program(program, shares, rank) for rank in range(len(shares))]
    ranks: list[_Rank] = []
    try:
        for part, side in zip(parts, sides, strict=True):
            ranks.append(_Rank(part, side if len(shares) > 1 else None, threads))
        found, moved, logits = dict[StepRows, tuple[RankTimes, ...]](), dict[StepRows, int](), dict[StepRows, bytes]()
        with ThreadPoolExecutor(len(ranks)) as pool:
            for rows, count in (steps or STEPS).items():
                before = sum(channel.sent + channel.received for channel in channels)
                columns = list(pool.map(lambda rank, rows=rows, count=count: rank.run(rows, count), ranks))
                after = sum(channel.sent + channel.received for channel in channels)
                moved[rows] = (after - before) // (count + 1)
                logits[rows] = np.concatenate([rank.logits for rank in ranks], axis=1).tobytes()
                works = [work.step(work.part(shares, rank), rows) for rank in range(len(shares))]
                found[rows] = tuple(
                    RankTimes(one, _usual(one.segments, times[0::2]), _usual(one.transfers, times[1::2]))
                    for one, times in zip(works, columns, strict=True)
                )
        return CutTimes(found, moved, logits)
    finally:
        for channel in (*channels, *others):
            channel.close()
        for rank in ranks:
            rank.executor.close()


def _usual(parts: Sequence[object], seconds: Sequence[float]) -> tuple[float, ...]:
    """For each part, return the lower quartile of the seconds of all parts with equal work, such as other layers."""
    alike: dict[object, list[float]] = {}
    for part, one in zip(parts, seconds, strict=True):
        alike.setdefault(part, []).append(one)
    return tuple(float(np.quantile(alike[part], 0.25)) for part in parts)


class _Rank:
    """One rank, which records the time before and after each exchange."""

    def __init__(self, part: Program, exchange: Exchanger | None, threads: int) -> None:
        self._marks: list[float] = []
        self._clock = time.thread_time if threads == 1 else time.perf_counter
        self._exchange = exchange
        self.executor = NativeExecutor(part, threads=threads, exchange=None if exchange is None else self._timed)
        self.logits: NDArray[np.int32] = np.empty((0, 0), np.int32)

    def _timed(self, op: AllGather, own: NDArray[Any] | None, whole: NDArray[Any]) -> None:
        assert self._exchange is not None
        self._marks.append(self._clock())
        self._exchange(op, own, whole)
        self._marks.append(self._clock())

    def run(self, rows: StepRows, count: int) -> list[float]:
        """Run steps; return the minimum seconds of each part, alternating between computation and exchanges."""
        self.executor.reserve_pages(rows.texts * rows.pages)
        chunks, wanted, found = rows.chunks, rows.last_rows, []
        for number in range(count + 1):
            self._marks = [self._clock()]
            self.logits = self.executor.step(chunks, wanted).copy()
            self._marks.append(self._clock())
            if number:
                found.append(np.diff(self._marks))
        return [float(least) for least in np.min(found, axis=0)]


def measure_engine(path: Path, threads: int = 1) -> float:
    """Return the processor seconds per step excluding its operations: scheduler, sampling, text."""
    marks: list[tuple[float, float]] = []
    with load(path, threads=threads, drafter="off", prefix_cache=False) as model:
        step = model.executor.step

        def timed(*given: Any) -> Any:
            begin = time.thread_time()
            found = step(*given)
            marks.append((begin, time.thread_time()))
            return found

        model.executor.step = timed  # type: ignore[assignment]
        model.generate([[100, 101, 102]], max_tokens=_ENGINE, ignore_eos=True, temperature=1, seed=1)
    between = [after[0] - before[1] for before, after in pairwise(marks)]
    return min((one for one in between if one > 0), default=0.0)


def measure_messages() -> dict[str, float]:
    """Measure the rates `message` and `copy` on rank 0's side of exchanges whose messages have already arrived."""
    found = []
    for rows, width in product(_ROWS, _WIDTHS):
        for others in _OTHERS:
            seconds, moved = _time_hub(others, rows, width)
            found.append(Observation(_NONE, seconds, 2 * others, moved, hub=1, rows=NUMBER * rows * width))
    rates = fit_rates(found)
    return {"message": rates.message, "copy": rates.copy}


def _time_hub(others: int, rows: int, width: int) -> tuple[float, int]:
    """Return the minimum processor seconds of an exchange with other ranks, and the bytes of its messages.

    The other ranks' messages are sent before it, and received after it, in this thread.
    """
    pairs = [socket.socketpair() for _ in range(others)]
    for end in (end for pair in pairs for end in pair):
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            end.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
    channels = [Channel(own, f"rank {number}") for number, (own, _) in enumerate(pairs, 1)]
    spokes = [Channel(its, "rank 0") for _, its in pairs]
    hub, widths = RankHub(channels), [part.width for part in divide(width, [1] * (others + 1))]
    op = AllGather("own", "whole", tuple(widths), accumulate=True)
    columns, whole = [np.ones((rows, one), np.int64) for one in widths], np.zeros((rows, width), np.int64)
    marks = []
    try:
        for number in range(1, _EXCHANGES + 1):
            for channel, own in zip(spokes, columns[1:], strict=True):
                channel.send_rows(own, number)
            begin = time.thread_time()
            hub.exchange(op, columns[0], whole)
            marks.append(time.thread_time() - begin)
            for channel, own in zip(spokes, columns[1:], strict=True):
                channel.receive_rows((rows, width - own.shape[1]), whole.dtype, number)
        moved = sum(channel.sent + channel.received for channel in channels) // _EXCHANGES
    finally:
        for channel in (*channels, *spokes):
            channel.close()
    return min(marks), moved


def measure_rates(path: Path, threads: int, progress: Callable[[int, int], None] | None = None) -> Rates:
    """Measure the rates of this machine with a model: one thread, whole and split in two, then all threads.

    Parameters
    ----------
    path : Path
        The model's file or folder.
    threads : int
        The machine's number of threads.
    progress : function, optional
        Called with the number of measurements done and the total.

    Raises
    ------
    ParameterError
        If the model cannot be split in two, so the cost of messages cannot be measured.
    """
    program = build_program(open_checkpoint(path))
    done, total = progress or (lambda done, total: None), 2 * _ROUNDS + 1 + (threads > 1)
    done(0, total)
    rounds: list[list[CutTimes]] = [[], []]
    for number in range(2 * _ROUNDS):
        rounds[number % 2].append(measure_cut(program, (1,) * (1 + number % 2), steps=_SHARE))
        done(number + 1, total)
    rates = fit_cuts([least_times(one) for one in rounds], measure_engine(path, threads), measure_messages())
    done(2 * _ROUNDS + 1, total)
    if threads > 1:
        several = [measure_cut(program, (1,), threads, steps=_SHARE) for _ in range(_ROUNDS)]
        times = least_times(several).ranks
        kept = {name: rate for name, rate in rates._asdict().items() if name not in _COMPUTING}
        rates = fit_rates([seen for (rank,) in times.values() for seen in rank.observations(0, Messages(0, 0))], kept)
        done(total, total)
    return rates


def fit_cuts(cuts: Sequence[CutTimes], step: float, messages: Mapping[str, float]) -> Rates:
    """Fit rates to measurements of some splits.

    Parameters
    ----------
    step : float
        The result of `measure_engine`.
    messages : mapping of str to float
        The result of `measure_messages`.
    """
    seen = [
        observation
        for cut in cuts
        for times in cut.ranks.values()
        for rank, (one, sent) in enumerate(zip(times, count_messages([each.work for each in times]), strict=True))
        for observation in one.observations(rank, sent)
    ]
    if not seen:
        raise ParameterError("fitting rates needs at least one cut")
    return fit_rates(seen, messages)._replace(step=step)
