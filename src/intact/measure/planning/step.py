"""A step of ranks that form a star, simulated: when each computes, sends and waits (library/parallel/executor.py)."""

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
        From its begin to the token.
    busy : tuple of float
        Seconds of processor time of each rank.
    bytes : int
        Bytes that leave and reach rank 0.
    """

    seconds: float
    busy: tuple[float, ...]
    bytes: int


def simulate_step(kinds: Sequence[MachineKind], works: Sequence[RankWork]) -> StepTimes:
    """Simulate a step.

    Rank 0 sends the step to the others. All compute up to an exchange; rank 0 takes the columns of each other rank in
    order, then sends each what it lacks. At the end it takes the others' logits. A link has the greater latency and
    the lesser bandwidth of its ends; what rank 0 sends or receives passes its connection one after the other.

    Parameters
    ----------
    kinds : sequence of MachineKind
        The machine of each rank, rank 0 first.
    works : sequence of RankWork
        Of the same ranks; all have the same number of exchanges.
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
    """A connection: seconds one way, and bytes a second."""

    latency: float
    bandwidth: float


def choose_links(kinds: Sequence[MachineKind]) -> list[Link]:
    """Return the connection of each rank to rank 0: the greater latency and the lesser bandwidth of both ends."""
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
        """Let rank 0 take a message of each other rank; one of a header alone is not sent."""
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
        """Let each rank do what an exchange takes beside its messages, for rows of so many bytes."""
        for rank, size in enumerate(sizes):
            self._work(rank, self.kinds[rank].rates.exchange(rank, size))
