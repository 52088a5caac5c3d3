"""A plan as data: the replicas of a model on the machines of a cluster, and their expected performance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from intact.library.parallel.ranks import Way
from intact.measure.planning.machines import MachineKind


class Demand(NamedTuple):
    """The work for each replica.

    Attributes
    ----------
    texts : int
        Number of sequences generated concurrently.
    context : int
        Tokens per sequence, prompt included, for which memory is reserved.
    length : int
        Tokens generated per sequence.
    """

    texts: int = 8
    context: int = 2048
    length: int = 256


class PlannedRank(NamedTuple):
    """One machine's part of a replica: its memory in bytes, in total, for weights and for the cache."""

    kind: MachineKind
    share: int
    needed: int
    weights: int
    cache: int
    busy: float
    """Processor seconds per step."""


@dataclass(frozen=True)
class PlannedReplica:
    """A replica of the model on one or more machines.

    Attributes
    ----------
    ranks : tuple of PlannedRank
        Rank 0 first.
    way : str
        Parallelism between the machines: ``tensor`` or ``pipeline``.
    seconds : float
        Duration of a step, which gives each sequence one token.
    tokens : float
        Tokens per second, over all sequences.
    bytes : int
        Bytes moved to and from rank 0 in a step.
    available : float
        Fraction of the time during which none of its machines is down.
    expected : float
        Long-run tokens per second, after subtracting the time of failures and the sequences they interrupt.
    prompt : float
        Prompt tokens per second; 0 until a plan has chosen the replica.
    """

    ranks: tuple[PlannedRank, ...]
    way: Way
    seconds: float
    tokens: float
    bytes: int
    available: float
    expected: float
    prompt: float = 0.0


@dataclass(frozen=True)
class ClusterPlan:
    """The chosen plan.

    Attributes
    ----------
    replicas : tuple of pairs
        Groups of identical replicas, with their number.
    unused : dict of str to int
        Number of unused machines, by kind.
    alone : dict of str to str
        Reason why a single machine of a kind cannot hold the model; "" if it can.
    refused : dict of str to str
        Reason why several machines of a kind cannot hold it together, if none of the degrees that were tried fits.
    """

    replicas: tuple[tuple[PlannedReplica, int], ...]
    unused: dict[str, int]
    alone: dict[str, str]
    refused: dict[str, str]

    @property
    def tokens(self) -> float:
        """Tokens per second of all replicas while nothing fails."""
        return sum(count * replica.tokens for replica, count in self.replicas)

    @property
    def expected(self) -> float:
        """Long-run tokens per second."""
        return sum(count * replica.expected for replica, count in self.replicas)
