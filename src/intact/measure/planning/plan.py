"""A plan as data: the replicas of a model on the machines of a cluster, and what is expected of each."""

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
        Written at a time.
    context : int
        Tokens of each, prompt included, for which there is memory.
    length : int
        Tokens that are written of each.
    """

    texts: int = 8
    context: int = 2048
    length: int = 256


class PlannedRank(NamedTuple):
    """One machine's part of a replica: bytes that it needs in all, of weights and of cache."""

    kind: MachineKind
    share: int
    needed: int
    weights: int
    cache: int
    busy: float
    """Seconds of processor time a step."""


@dataclass(frozen=True)
class PlannedReplica:
    """A replica of the model on one or more machines.

    Attributes
    ----------
    ranks : tuple of PlannedRank
        Rank 0 first.
    way : str
        How the model is divided between them: ``tensor`` or ``pipeline``.
    seconds : float
        Of a step, in which each text gets a token.
    tokens : float
        Tokens a second, of all texts.
    bytes : int
        Bytes that leave and reach rank 0 in a step.
    available : float
        The share of the time in which no machine of it has failed.
    expected : float
        Tokens a second in the long run: less the time of failures and the texts that they break off.
    prompt : float
        Tokens a second of a prompt; 0 before a plan has chosen the replica.
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
    """The choice of a plan.

    Attributes
    ----------
    replicas : tuple of pairs
        Replicas that are alike, and how many of them.
    unused : dict of str to int
        Machines left out, by kind.
    alone : dict of str to str
        Why a machine of a kind cannot hold the model alone; "" if it can.
    refused : dict of str to str
        Why several machines of a kind together cannot, if none of the degrees that were tried fits.
    """

    replicas: tuple[tuple[PlannedReplica, int], ...]
    unused: dict[str, int]
    alone: dict[str, str]
    refused: dict[str, str]

    @property
    def tokens(self) -> float:
        """Tokens a second of all replicas while nothing fails."""
        return sum(count * replica.tokens for replica, count in self.replicas)

    @property
    def expected(self) -> float:
        """Tokens a second in the long run."""
        return sum(count * replica.expected for replica, count in self.replicas)
