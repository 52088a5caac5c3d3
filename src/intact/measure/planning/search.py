"""Search for the best plan: group machines into replicas of the model, and choose their shares."""

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
""""tokens" maximises the cluster's tokens per second, "latency" minimises the time per token on one replica."""
DEGREES: Final = (*range(1, 17), 24, 32, 48, 64)
"""Numbers of machines per replica to try."""
MIXED: Final = 8
"""Maximum number of machines in a replica of several kinds."""
PROCESS: Final = 200 << 20
"""Bytes of a process other than weights and cache: Python, NumPy, rows."""
PROMPT: Final = 256
"""Length in tokens of the prompt whose speed is reported, in one step; a pipeline runs it in parts."""
_FINE: Final = 100
"""Maximum share to try."""
_ROUNDS: Final = 12
"""Maximum number of adjustments to shares to fit the memory of all ranks."""


def choose_plan(
    model: ModelWork,
    kinds: Sequence[MachineKind],
    demand: Demand,
    goal: Goal = "tokens",
    progress: Callable[[int, int], None] | None = None,
) -> ClusterPlan:
    """Return the best plan found: machines are sorted by speed and split into runs, of the lengths in `DEGREES`.

    Each run is tried with tensor and with pipeline parallelism. Runs of more than `MIXED` machines consist of a single
    kind. For tokens, runs are chosen by dynamic programming to maximise the total of expected tokens per second; for
    latency, a single run is chosen.

    Parameters
    ----------
    progress : function, optional
        Called with the number of groups simulated and the total.

    Raises
    ------
    ParameterError
        If a number in the demand is below 1, or its length exceeds its context.
    """
    if min(demand) < 1 or demand.length > demand.context:
        raise ParameterError(
            f"texts, context and length must be at least 1, and length must not exceed context; got {demand}"
        )
    return _Chooser(model, kinds, demand, progress, goal=goal).choose()


class _Group(NamedTuple):
    """A replica, or the reason why there is none."""

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
        """Return the candidate groups that end just before index `stop`."""
        degrees = [degree for degree in DEGREES if degree <= min(stop, self.most)]
        runs = [tuple(machines[stop - degree : stop]) for degree in degrees]
        return [run for run in runs if len(run) <= MIXED or run[0] is run[-1]]

    def _simulate(self, machines: Sequence[MachineKind]) -> None:
        """Simulate every group and store its replica."""
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
        """Return the replicas with the largest total of expected tokens."""
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
        """Return the reason why no number of machines of a kind fits; empty if one does."""
        own = [group for key, group in self.groups.items() if set(key) == {kind.name}]
        return "" if any(group.replica is not None for group in own) else own[-1].why

    def _group(self, run: Sequence[MachineKind]) -> _Group:
        """Return the better replica that the given machines can form, or the reasons why neither parallelism works."""
        ways = self.ways if len(run) > 1 else self.ways[:1]
        found = [self._ordered(way, run) for way in ways]
        replicas = [group.replica for group in found if group.replica is not None]
        if replicas:
            return _Group(min(replicas, key=self._cost))
        whys = [f"{way.way} parallel: {group.why}" for way, group in zip(ways, found, strict=True)]
        return _Group(None, "; ".join(whys) if len(ways) > 1 else found[0].why)

    def _cost(self, replica: PlannedReplica) -> float:
        """Return the quantity minimised for the goal."""
        return replica.seconds if self.goal == "latency" else -replica.expected

    def _ordered(self, way: DividedModel, run: Sequence[MachineKind]) -> _Group:
        """Return the replica of the given machines; rank 0 is the fastest or, if necessary, has the most memory."""
        try:
            group = self._replica(way, run)
            if group.replica is None and len(set(run)) > 1:
                group = max(
                    group,
                    self._replica(way, sorted(run, key=lambda kind: -kind.memory)),
                    key=lambda g: g[0] is not None,
                )
        except ParameterError as error:  # it cannot be cut this way
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
        lost = failures * demand.texts * demand.length / 2  # a sequence is lost halfway on average
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
    """Return a key that identical replicas share."""
    return replica.way, *((rank.kind.name, rank.share) for rank in replica.ranks)


def _whole_shares(weights: Sequence[float]) -> tuple[int, ...]:
    """Return shares proportional to weights, the largest being 100, in lowest terms: (1, 1) for equal weights."""
    greatest = max(weights)
    shares = [max(1, round(_FINE * weight / greatest)) for weight in weights]
    divisor = math.gcd(*shares)
    return tuple(share // divisor for share in shares)
