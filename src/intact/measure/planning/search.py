"""Search for the best plan: which machines work together on a replica of the model, and with which shares."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, NamedTuple, TypeAlias

from intact._base.errors import ParameterError
from intact.library.parallel.ranks import MOST
from intact.measure.planning.machines import MachineKind
from intact.measure.planning.plan import ClusterPlan, Demand, PlannedRank, PlannedReplica
from intact.measure.planning.ways import DividedModel, PipelineParallel, TensorParallel
from intact.measure.planning.work import PAGE, ModelWork, RankMemory, StepRows

Goal: TypeAlias = Literal["tokens", "latency"]
"""Most tokens a second of the cluster, or the least time of a token on one replica."""
DEGREES: Final = (*range(1, 17), 24, 32, 48, 64)
"""Machines of a replica that are tried."""
MIXED: Final = 8
"""Most machines of a replica that are of several kinds."""
PROCESS: Final = 200 << 20
"""Bytes of a process beside weights and cache: Python, NumPy, rows."""
PROMPT: Final = 256
"""Tokens of the prompt whose rate is given, in one step; a pipeline runs it in parts."""
_FINE: Final = 100
"""The greatest share that is tried."""
_ROUNDS: Final = 12
"""Times that shares are changed until the memory of all ranks suffices."""


def choose_plan(
    model: ModelWork,
    kinds: Sequence[MachineKind],
    demand: Demand,
    goal: Goal = "tokens",
    progress: Callable[[int, int], None] | None = None,
) -> ClusterPlan:
    """Return the best plan among those tried: machines in the order of their speed, cut into runs of `DEGREES`.

    Each run is tried both ways, tensor and pipeline parallel. One of more than `MIXED` machines is of one kind. For
    tokens, runs are chosen by dynamic programming so that the sum of expected tokens a second is the greatest; for
    latency, one run.

    Parameters
    ----------
    progress : function, optional
        Called with the number of groups simulated, and of all.

    Raises
    ------
    ParameterError
        If the demand has a number below 1, or is longer than its context.
    """
    if min(demand) < 1 or demand.length > demand.context:
        raise ParameterError(f"texts, context and length must be at least 1, length within context; got {demand}")
    return _Chooser(model, kinds, demand, progress, goal=goal).choose()


class _Group(NamedTuple):
    """A replica, or why there is none."""

    replica: PlannedReplica | None
    why: str = ""


@dataclass
class _Chooser:
    model: ModelWork
    kinds: Sequence[MachineKind]
    demand: Demand
    progress: Callable[[int, int], None] | None
    goal: Goal
    groups: dict[tuple[str, ...], _Group] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ways: tuple[DividedModel, ...] = TensorParallel(self.model), PipelineParallel(self.model)
        self.most = min(MOST, max(way.most for way in self.ways))

    def choose(self) -> ClusterPlan:
        whole = self.model.step(
            self.model.part((1,), 0), StepRows(self.demand.texts, 1, self.demand.context // 2)
        ).total
        self.speeds = {kind.name: 1 / kind.rates.seconds(whole) for kind in self.kinds}
        order = sorted(self.kinds, key=lambda kind: -self.speeds[kind.name])
        machines = [kind for kind in order for _ in range(kind.count)]
        self._simulate(machines)
        chosen = self._most(machines) if self.goal == "tokens" else self._fastest()
        used = Counter(rank.kind.name for replica in chosen for rank in replica.ranks)
        alike = Counter(map(_likeness, chosen))
        first = {_likeness(replica): replica for replica in reversed(chosen)}
        return ClusterPlan(
            tuple((self._with_prompt(first[key]), count) for key, count in alike.items()),
            {kind.name: kind.count - used[kind.name] for kind in self.kinds if kind.count > used[kind.name]},
            {kind.name: self.groups[kind.name,].why for kind in self.kinds},
            {kind.name: why for kind in self.kinds if (why := self._why(kind))},
        )

    def _with_prompt(self, replica: PlannedReplica) -> PlannedReplica:
        count = min(PROMPT, self.demand.context)
        run, shares = [rank.kind for rank in replica.ranks], [rank.share for rank in replica.ranks]
        way = next(way for way in self.ways if way.way == replica.way)
        times = way.times(run, shares, StepRows(1, count, 0))
        return replace(replica, prompt=count / times.seconds)

    def _runs(self, machines: Sequence[MachineKind], stop: int) -> list[tuple[MachineKind, ...]]:
        """Return the groups that end before a machine."""
        degrees = [degree for degree in DEGREES if degree <= min(stop, self.most)]
        runs = [tuple(machines[stop - degree : stop]) for degree in degrees]
        return [run for run in runs if len(run) <= MIXED or run[0] is run[-1]]

    def _simulate(self, machines: Sequence[MachineKind]) -> None:
        """Find the replica of every group."""
        wanted = {
            tuple(kind.name for kind in run): run
            for stop in range(1, len(machines) + 1)
            for run in self._runs(machines, stop)
        }
        for number, (key, run) in enumerate(wanted.items()):
            if self.progress is not None:
                self.progress(number, len(wanted))
            self.groups[key] = self._group(run)
        if self.progress is not None:
            self.progress(len(wanted), len(wanted))

    def _most(self, machines: Sequence[MachineKind]) -> list[PlannedReplica]:
        """Return the groups whose expected tokens are the most in all."""
        best: list[tuple[float, tuple[PlannedReplica, ...]]] = [(0.0, ())]
        for stop in range(1, len(machines) + 1):
            value, chosen = best[-1]
            for run in self._runs(machines, stop):
                replica = self.groups[tuple(kind.name for kind in run)].replica
                before = best[stop - len(run)]
                if replica is not None and before[0] + replica.expected > value:
                    value, chosen = before[0] + replica.expected, (*before[1], replica)
            best.append((value, chosen))
        return list(best[-1][1])

    def _fastest(self) -> list[PlannedReplica]:
        found = [group.replica for group in self.groups.values() if group.replica is not None]
        return [min(found, key=lambda replica: (replica.seconds, len(replica.ranks)))] if found else []

    def _why(self, kind: MachineKind) -> str:
        """Return why no number of machines of a kind fits; nothing if one does."""
        own = [group for key, group in self.groups.items() if set(key) == {kind.name}]
        return "" if any(group.replica is not None for group in own) else own[-1].why

    def _group(self, run: Sequence[MachineKind]) -> _Group:
        """Return the better replica of some machines; where there is none, why, for each way."""
        ways = self.ways if len(run) > 1 else self.ways[:1]
        found = [self._ordered(way, run) for way in ways]
        replicas = [group.replica for group in found if group.replica is not None]
        if replicas:
            return _Group(min(replicas, key=self._cost))
        whys = [f"{way.way} parallel: {group.why}" for way, group in zip(ways, found, strict=True)]
        return _Group(None, "; ".join(whys) if len(ways) > 1 else found[0].why)

    def _cost(self, replica: PlannedReplica) -> float:
        """Return what the goal wants to be the least."""
        return replica.seconds if self.goal == "latency" else -replica.expected

    def _ordered(self, way: DividedModel, run: Sequence[MachineKind]) -> _Group:
        """Return the replica of some machines, the fastest rank 0, or that with the most memory where it must be."""
        try:
            group = self._replica(way, run)
            if group.replica is None and len(set(run)) > 1:
                group = max(
                    group,
                    self._replica(way, sorted(run, key=lambda kind: -kind.memory)),
                    key=lambda g: g[0] is not None,
                )
        except ParameterError as error:  # it cannot be cut so
            return _Group(None, str(error))
        return group

    def _replica(self, way: DividedModel, run: Sequence[MachineKind]) -> _Group:
        weights = [self.speeds[kind.name] for kind in run]
        for _ in range(_ROUNDS):
            shares = _whole_shares(weights)
            memory = way.memory(shares)
            needed = [self._needed(one) for one in memory]
            lacking = [rank for rank, kind in enumerate(run) if needed[rank] > kind.memory]
            if not lacking:
                return _Group(self._finish(way, run, shares, memory))
            if len(lacking) == len(run):
                break
            for rank in lacking:
                room = max(0.0, run[rank].memory - PROCESS) / (needed[rank] - PROCESS)
                weights[rank] *= max(0.02, 0.97 * room)
        return _Group(None, self._lack(run, memory, needed))

    def _cache(self, memory: RankMemory) -> int:
        return self.demand.texts * -(-self.demand.context // PAGE) * PAGE * memory.position

    def _needed(self, memory: RankMemory) -> int:
        return memory.weights + self._cache(memory) + PROCESS

    def _lack(self, run: Sequence[MachineKind], memory: Sequence[RankMemory], needed: Sequence[int]) -> str:
        rank = max(range(len(run)), key=lambda i: needed[i] - run[i].memory)
        kind, one = run[rank], memory[rank]
        return (
            f"{'alone' if len(run) == 1 else f'of {len(run)} machines'}, {kind.name} needs {needed[rank] / 1e9:.2f} GB "
            f"({one.weights / 1e9:.2f} of weights, {self._cache(one) / 1e9:.2f} of cache for {self.demand.texts} x "
            f"{self.demand.context:,} tokens); it has {kind.memory / 1e9:.2f} GB"
        )

    def _finish(
        self,
        way: DividedModel,
        run: Sequence[MachineKind],
        shares: Sequence[int],
        memory: Sequence[RankMemory],
    ) -> PlannedReplica:
        demand = self.demand
        times = way.times(run, shares, StepRows(demand.texts, 1, demand.context // 2))
        ranks = tuple(
            PlannedRank(kind, share, self._needed(one), one.weights, cache=self._cache(one), busy=busy)
            for kind, share, one, busy in zip(run, shares, memory, times.busy, strict=True)
        )
        tokens = demand.texts / times.seconds
        hours = [kind.hours_between_failures for kind in run]
        available = math.prod(1 / (1 + kind.restart / (3600 * kind.hours_between_failures)) for kind in run)
        failures = sum(1 / (3600 * one) for one in hours)
        lost = failures * demand.texts * demand.length / 2  # a text is broken off in its middle
        return PlannedReplica(
            ranks,
            way.way,
            times.seconds,
            tokens,
            bytes=times.bytes,
            available=available,
            expected=max(0.0, available * (tokens - lost)),
        )


def _likeness(replica: PlannedReplica) -> tuple[object, ...]:
    """Return what replicas that are alike have in common."""
    return replica.way, *((rank.kind.name, rank.share) for rank in replica.ranks)


def _whole_shares(weights: Sequence[float]) -> tuple[int, ...]:
    """Return shares in proportion to weights, the greatest 100, reduced: (1, 1) for equal ones."""
    greatest = max(weights)
    shares = [max(1, round(_FINE * weight / greatest)) for weight in weights]
    divisor = math.gcd(*shares)
    return tuple(share // divisor for share in shares)
