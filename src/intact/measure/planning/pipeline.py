"""Simulate a pipeline step: the times when each rank computes, sends and waits (intact.library.parallel.pipeline)."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import count
from typing import Literal, NamedTuple, TypeAlias

from intact.measure.planning.machines import MachineKind
from intact.measure.planning.stages import PipelineWork
from intact.measure.planning.step import StepTimes, choose_links

_Happening: TypeAlias = Literal["send", "receive"]


def simulate_pipeline(kinds: Sequence[MachineKind], work: PipelineWork) -> StepTimes:
    """Simulate a step of a pipeline.

    Rank 0 embeds all rows and runs its layers on one part after another. Meanwhile, a thread for each other rank sends
    it a part as soon as the previous rank is done with it, and receives the result. All transfers of rank 0 share its
    connection, one after another. At the end it computes the logits.

    Parameters
    ----------
    kinds : sequence of MachineKind
        The machine of each rank, rank 0 first.
    work : PipelineWork
        The work of these ranks.
    """
    pipe = _Pipe(kinds, work)
    return pipe.run()


class _Event(NamedTuple):
    """An event that can happen at or after a given time: sending a part to a rank, or receiving its result."""

    seconds: float
    number: int
    what: _Happening
    part: int
    rank: int


class _Pipe:
    """The clocks of ranks, of rank 0's threads and of its connection."""

    def __init__(self, kinds: Sequence[MachineKind], work: PipelineWork) -> None:
        self.kinds, self.work = kinds, work
        self.ready, self.busy, self.bytes = [0.0] * len(kinds), [0.0] * len(kinds), 0
        self.done = 0.0
        self._port = 0.0
        self._events: list[_Event] = []
        self._numbers = count()
        self._waiting: list[list[tuple[float, int]]] = [[] for _ in kinds]
        self._sending = [False] * len(kinds)
        self._links = choose_links(kinds)

    def run(self) -> StepTimes:
        rates = self.kinds[0].rates
        clock = self._use(0, 0.0, rates.seconds(self.work.embedding))
        for part, works in enumerate(self.work.parts):
            clock = self._use(0, clock, rates.seconds(works[0].segment))
            self._pass_on(clock, part, 1)
        while self._events:
            event = heappop(self._events)
            (self._send if event.what == "send" else self._receive)(event.seconds, event.part, event.rank)
        clock = self._use(0, max(clock, self.done), rates.seconds(self.work.head) + rates.step)
        return StepTimes(clock, tuple(self.busy), self.bytes)

    def _use(self, rank: int, begin: float, seconds: float) -> float:
        """Occupy a rank for some time; return the end."""
        self.busy[rank] += seconds
        return begin + seconds

    def _pass_on(self, seconds: float, part: int, rank: int) -> None:
        """Send a part to a rank when its thread is free, or finish the part after the last rank."""
        if rank == len(self.kinds):
            self.done = max(self.done, seconds)
        elif self._sending[rank]:
            self._waiting[rank].append((seconds, part))
        else:
            self._sending[rank] = True
            self._add(seconds, "send", part, rank)

    def _add(self, seconds: float, what: _Happening, part: int, rank: int) -> None:
        heappush(self._events, _Event(seconds, next(self._numbers), what, part, rank=rank))

    def _transfer(self, begin: float, rank: int, size: int) -> float:
        """Transfer bytes through rank 0's connection; return the time when the last one has passed."""
        self._port = max(self._port, begin) + size / self._links[rank].bandwidth
        self.bytes += size
        return self._port

    def _send(self, begin: float, part: int, rank: int) -> None:
        work = self.work.parts[part][rank]
        hub, own = self.kinds[0].rates, self.kinds[rank].rates
        both = work.plan, work.entering
        begin = self._use(0, begin, sum(map(hub.handle, both)))
        came = self._transfer(begin, rank, sum(both)) + self._links[rank].latency
        seconds = sum(map(own.handle, (*both, work.leaving))) + own.exchange(rank, work.entering)
        self.ready[rank] = self._use(rank, max(came, self.ready[rank]), seconds + own.seconds(work.segment))
        self._add(self.ready[rank] + self._links[rank].latency, "receive", part, rank)

    def _receive(self, begin: float, part: int, rank: int) -> None:
        work, rates = self.work.parts[part][rank], self.kinds[0].rates
        came = self._transfer(begin, rank, work.leaving)
        end = self._use(0, came, rates.handle(work.leaving) + rates.exchange(0, work.entering))
        self._pass_on(end, part, rank + 1)
        self._sending[rank] = False
        if self._waiting[rank]:
            seconds, following = self._waiting[rank].pop(0)
            self._pass_on(max(end, seconds), following, rank)
