"""Simulate a step of ranks in a star: the times when each computes, sends and waits (library/parallel/executor.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from intact.library.parallel.channel import HEADER
from intact.measure.planning.machines import MachineKind
from intact.measure.planning.work import RankWork, Segment


class StepTimes(NamedTuple):
    """The simulated step.

    Attributes
    ----------
    seconds : float
        Time from its start to the token.
    busy : tuple of float
        Processor seconds of each rank.
    bytes : int
        Bytes moved to and from rank 0.
    """

    seconds: float
    busy: tuple[float, ...]
    bytes: int


def simulate_step(kinds: Sequence[MachineKind], works: Sequence[RankWork]) -> StepTimes:
    """Simulate a step.

    Rank 0 sends the step to the other ranks. All compute up to an exchange; rank 0 receives the columns of the other
    ranks in order, then sends each rank the columns that it lacks. At the end it receives the other ranks' logits. A
    link has the higher latency and the lower bandwidth of its ends; all transfers of rank 0 share its connection, one
    after another.

    Parameters
    ----------
    kinds : sequence of MachineKind
        The machine of each rank, rank 0 first.
    works : sequence of RankWork
        Work of these ranks; all have the same number of exchanges.
    """
    star = _Star(kinds)
    star.send([works[0].plan] * (len(kinds) - 1))
    for number in range(len(works[0].transfers)):
        star.compute([work.segments[number] for work in works])
        star.receive([work.transfers[number].own for work in works[1:]])
        star.send([work.transfers[number].lacking for work in works[1:]])
        star.put_together([work.transfers[number].whole for work in works])
    star.compute([work.segments[-1] for work in works])
    star.receive([work.logits for work in works[1:]])
    own = kinds[0].rates.step
    return StepTimes(star.clocks[0] + own, (star.busy[0] + own, *star.busy[1:]), star.bytes)


class Link(NamedTuple):
    """A connection: one-way latency in seconds, and bytes per second."""

    latency: float
    bandwidth: float


def choose_links(kinds: Sequence[MachineKind]) -> list[Link]:
    """Return the connection of each rank to rank 0, with the higher latency and the lower bandwidth of both ends."""
    hub = kinds[0]
    return [Link(max(hub.latency, kind.latency), min(hub.bandwidth, kind.bandwidth)) for kind in kinds]


class _Star:
    """The clocks of the ranks."""

    def __init__(self, kinds: Sequence[MachineKind]) -> None:
        self.kinds = kinds
        self.clocks, self.busy, self.bytes = [0.0] * len(kinds), [0.0] * len(kinds), 0
        self._links = choose_links(kinds)

    def _work(self, rank: int, seconds: float) -> None:
        self.clocks[rank] += seconds
        self.busy[rank] += seconds

    def compute(self, segments: Sequence[Segment]) -> None:
        for rank, segment in enumerate(segments):
            self._work(rank, self.kinds[rank].rates.seconds(segment))

    def receive(self, sizes: Sequence[int]) -> None:
        """Let rank 0 receive a message from each other rank; a message with only a header is not sent."""
        for rank, size in enumerate(sizes, 1):
            if size <= HEADER.size:
                continue
            latency, bandwidth = self._links[rank]
            self._work(rank, self.kinds[rank].rates.handle(size))
            self.clocks[0] = max(self.clocks[0], self.clocks[rank] + latency) + size / bandwidth
            self._work(0, self.kinds[0].rates.handle(size))
            self.bytes += size

    def send(self, sizes: Sequence[int]) -> None:
        """Let rank 0 send a message to each other rank, which waits for it."""
        for rank, size in enumerate(sizes, 1):
            latency, bandwidth = self._links[rank]
            self._work(0, self.kinds[0].rates.handle(size))
            self.clocks[0] += size / bandwidth
            self.clocks[rank] = max(self.clocks[rank], self.clocks[0] + latency)
            self._work(rank, self.kinds[rank].rates.handle(size))
            self.bytes += size

    def put_together(self, sizes: Sequence[int]) -> None:
        """Let each rank do the work of an exchange other than its messages, for rows of these sizes in bytes."""
        for rank, size in enumerate(sizes):
            self._work(rank, self.kinds[rank].rates.exchange(rank, size))
