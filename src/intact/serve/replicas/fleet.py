"""The fleet of replicas: start, watch and replace replicas, and restart them one after another."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from intact.evaluate.cluster.machines import Machine, machines, on, probe, refusal
from intact.serve.errors import ApiError
from intact.serve.replicas.replica import Replica, ReplicaPlan
from intact.serve.replicas.routing import PrefixRouter, Route
from intact.serve.replicas.scaling import FleetSize, QueueScaler, ReplicaReport

_LOG = logging.getLogger("intact.serve")
WATCH = 1.0
"""Seconds between two checks of replicas and machines."""
ANSWER = 30.0
"""Seconds after which a replica that does not report its state counts as lost."""
DEATHS = 5
"""Number of replicas that may die on a machine while loading before the machine is excluded."""
MANY = 4096
"""Maximum number of concurrent requests per replica; its own queue limits them earlier."""


@dataclass(eq=False)
class ReplicaHandle:
    """A replica: `load` is its number of running requests, `report` its last reported state."""

    number: int
    machine: Machine
    actor: Any
    load: int = 0
    draining: bool = False
    report: dict[str, Any] = field(default_factory=dict)


class Fleet:
    """The replicas of a server.

    Parameters
    ----------
    ray : module
        As yielded by `intact.evaluate.cluster.connection.connected`.
    size : FleetSize, optional
        The number of replicas, or its bounds; by default one on each machine, including machines that join later.

    Attributes
    ----------
    ready : dict of int to ReplicaHandle
        Replicas that answer requests.
    failure : str
        Reason why there is no replica, if no machine can host one.
    lost, reruns, forwarded, matched : int
        Numbers of lost replicas, repeated requests, all requests, and requests sent to a replica that had their prefix.
    """

    def __init__(
        self, ray: Any, plan: ReplicaPlan, files: Any, size: FleetSize | None, route: Route = "prefix"
    ) -> None:
        self._ray, self._files = ray, files
        self._scaler = None if size is None else QueueScaler(size)
        self._plan = ray.put(plan)
        self._kind = ray.remote(max_concurrency=MANY)(Replica)
        self._probe = ray.remote(max_retries=0)(probe())
        self.router = PrefixRouter(route)
        self.ready: dict[int, ReplicaHandle] = {}
        self.refused: dict[Machine, str] = {}
        self.failure = self.fingerprint = ""
        self.lost = self.reruns = self.forwarded = self.matched = 0
        self._numbers, self._deaths = count(), Counter[Machine]()
        self._starting: dict[asyncio.Task[None], Machine] = {}
        self._changed = asyncio.Event()
        self._restarting = asyncio.Lock()
        self._going: set[asyncio.Task[None]] = set()

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """The errors raised by calls to a lost replica."""
        found = self._ray.exceptions
        return found.RayActorError, found.ObjectLostError, found.OwnerDiedError, found.WorkerCrashedError

    async def watch(self) -> None:
        """Keep the requested number of replicas running, forever."""
        while True:
            try:
                self._fill(await asyncio.to_thread(machines, self._ray))
                await asyncio.gather(*(self._check(one) for one in list(self.ready.values())))
                self._scale()
            except Exception:
                _LOG.exception("the state of the cluster could not be read")
            self._changed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), WATCH)

    async def choose(self, beginnings: Sequence[bytes], wanted: int | None = None) -> ReplicaHandle:
        """Return the replica for a request, and count the request as its load; wait while replicas start.

        Parameters
        ----------
        wanted : int, optional
            The replica that stores the object the request refers to, if that replica still exists.

        Raises
        ------
        ApiError
            503, if no machine of the cluster can host a replica.
        """
        while not (loads := {number: one.load for number, one in self.ready.items() if not one.draining}):
            if self.failure:
                raise ApiError(503, self.failure, code="no_replica")
            await asyncio.sleep(0.05)
        if wanted in loads:
            chosen = wanted
        else:
            chosen, known = self.router.choose(beginnings, loads)
            self.forwarded += 1
            self.matched += known > 0
        self.ready[chosen].load += 1
        return self.ready[chosen]

    def lose(self, replica: ReplicaHandle, why: str) -> None:
        """Record that a replica is lost, and make sure that it is gone; another one replaces it."""
        if self.ready.pop(replica.number, None) is not None:
            self.lost += 1
            _LOG.warning("the replica at %s is lost, another takes its place: %.200s", replica.machine.address, why)
        self._end(replica)

    async def restart(self) -> None:
        """Restart all replicas one after another, each once its requests have ended."""
        async with self._restarting:
            for replica in list(self.ready.values()):
                others = len(self.ready)
                if await self._drain(replica):
                    _LOG.info("the replica at %s restarts", replica.machine.address)
                while len(self.ready) < min(others, self._wanted or others) and not self.failure:
                    await asyncio.sleep(0.05)

    async def cut(self) -> None:
        """Make all replicas end their requests immediately."""
        for replica in self.ready.values():
            with suppress(Exception):
                replica.actor.cut.remote()

    @property
    def _wanted(self) -> int | None:
        """The desired number of replicas; None for one on each machine."""
        return None if self._scaler is None else self._scaler.wanted

    def _scale(self) -> None:
        """Adapt the number of replicas to the load: `_fill` starts missing ones, and a surplus one is drained."""
        if self._scaler is None:
            return
        takes = [one for one in self.ready.values() if not one.draining]
        reports = [ReplicaReport(one.report["waiting"], one.report["busy"]) for one in takes if one.report]
        before = self._scaler.wanted
        wanted = self._scaler.look(time.monotonic(), len(takes), reports)
        if wanted == before:
            return
        _LOG.info("scaling to %d replicas from %d", wanted, before)
        if wanted < before:
            task = asyncio.create_task(self._leave(min(takes, key=lambda one: (one.load, -one.number))))
            self._going.add(task)
            task.add_done_callback(self._going.discard)
        self._changed.set()

    async def _leave(self, replica: ReplicaHandle) -> None:
        if await self._drain(replica):
            _LOG.info("the replica at %s has ended, as the others have room", replica.machine.address)

    async def _drain(self, replica: ReplicaHandle) -> bool:
        """Let a replica finish its requests, then end it; return false if it was lost meanwhile."""
        replica.draining = True
        while replica.load and replica.number in self.ready:
            await asyncio.sleep(0.05)
        if self.ready.pop(replica.number, None) is None:
            return False
        self._end(replica)
        return True

    def _end(self, replica: ReplicaHandle) -> None:
        self.router.forget(replica.number)
        with suppress(Exception):
            self._ray.kill(replica.actor)
        self._changed.set()

    def _fill(self, alive: Sequence[Machine]) -> None:
        """Start missing replicas."""
        usable = [one for one in alive if one not in self.refused]
        there = Counter([*(one.machine for one in self.ready.values()), *self._starting.values()])
        wanted = len(usable) if self._wanted is None else self._wanted
        while usable and there.total() < wanted:
            machine = min(usable, key=lambda one: there[one])
            if self._wanted is None and there[machine]:
                break
            there[machine] += 1
            task = asyncio.create_task(self._start(machine))
            self._starting[task] = machine
            task.add_done_callback(self._started)
        reasons = "; ".join(f"{machine.address}: {why}" for machine, why in self.refused.items())
        has_none = not (self.ready or self._starting) and bool(self.refused)
        self.failure = f"no machine of the cluster can take part: {reasons}" if has_none else ""

    def _started(self, task: asyncio.Task[None]) -> None:
        self._starting.pop(task)
        if not task.cancelled():
            task.exception()
        self._changed.set()

    async def _start(self, machine: Machine) -> None:
        """Start a replica on a machine, unless the machine refuses it."""
        errors = self._ray.exceptions
        try:
            if why := refusal(await self._probe.options(**on(machine)).remote()):
                self._refuse(machine, why)
                return
            replica = ReplicaHandle(next(self._numbers), machine, None)
            replica.actor = self._kind.options(**on(machine)).remote(self._plan, self._files)
            facts = await replica.actor.start.remote()
        except errors.RayTaskError as error:
            self._refuse(machine, str(error.cause))
        except errors.RayError as error:
            self._deaths[machine] += 1
            if self._deaths[machine] > DEATHS:
                self._refuse(machine, f"its replicas die before they have finished loading: {error!s:.300}")
        else:
            self.fingerprint = self.fingerprint or facts["fingerprint"]
            if facts["fingerprint"] != self.fingerprint:
                self._refuse(machine, f"its answers are those of {facts['fingerprint']}; expected {self.fingerprint}")
                self._end(replica)
                return
            self._deaths[machine] = 0
            self.ready[replica.number] = replica
            _LOG.info("a replica is ready at %s, tier %s", machine.address, facts["tier"])

    def _refuse(self, machine: Machine, why: str) -> None:
        self.refused[machine] = why
        _LOG.warning("the machine %s of the cluster is rejected: %s", machine.address, why)

    async def _check(self, replica: ReplicaHandle) -> None:
        try:
            replica.report = await asyncio.wait_for(_awaited(replica.actor.state.remote()), ANSWER)
        except (TimeoutError, self._ray.exceptions.RayError) as error:
            self.lose(replica, str(error) or f"it has not answered for {ANSWER:g} seconds")


async def _awaited(reference: Any) -> Any:
    return await reference
