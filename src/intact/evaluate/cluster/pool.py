"""A pool of workers that may join or leave: idle ones take the next items, and items of dead ones are reassigned."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from intact._base.errors import WorkerError
from intact.evaluate.cluster.connection import connected
from intact.evaluate.cluster.journals import JournalKeeper
from intact.evaluate.cluster.machines import Machine, machines, on, probe, refusal
from intact.evaluate.cluster.models import FileServer, Shipment
from intact.evaluate.cluster.worker import ClusterJob, Resources, Worker
from intact.reason.thinking import ThinkingMode
from intact.text.template import DEFAULT_NOW

_LOG = logging.getLogger("intact")
RETRIES = 5
"""Tolerated number of worker deaths on the same item, or of deaths of a machine's workers before they have loaded."""
MOST = 16
"""Maximum number of items in one assignment."""
LANES = 2
"""Concurrent assignments of a worker, so that it is not idle at the end of one."""
POLL = 0.5
"""Seconds between two polls of the cluster's machines."""
PATIENCE = 60.0
"""Seconds to wait for a machine when none is left."""
BEAT = 5.0
"""Seconds between heartbeats."""
SILENT = 60.0
"""Seconds without a heartbeat reply after which a worker counts as lost: it hangs, or its machine is suspended."""


@dataclass(eq=False)
class _Member:
    """A worker of the pool, with its assignments in `running`, keyed by their streams.

    It is `ready` once its models are loaded, and `accepted` once it has shown that it would compute exactly what the
    job states. `beat` is a heartbeat that has no reply yet, and `last` is the time when it was sent or when the last
    reply came.
    """

    machine: Machine
    actor: Any
    ready: bool = False
    accepted: bool = False
    beat: Any = None
    last: float = 0.0
    running: dict[Any, dict[int, Any]] = field(default_factory=dict)


class Pool:
    """Workers on a cluster's machines, each with the same models.

    Parameters
    ----------
    ray : module
        The module yielded by `connected`.
    resources : Resources
        The resources that workers share.
    count : int, optional
        Number of workers; by default one on each machine. Machines that join later are used unless there are already
        enough workers.
    """

    def __init__(self, ray: Any, resources: Resources, count: int | None = None) -> None:
        self._ray, self._count = ray, count
        self._resources = ray.put(resources)
        self._kind = ray.remote(max_concurrency=LANES + 1)(Worker)
        self._probe = ray.remote(max_retries=0)(probe())
        self._members: list[_Member] = []
        self._starting: dict[Any, tuple[Machine, _Member | None]] = {}
        self._questioned: dict[Any, _Member] = {}
        self._deaths = Counter[str]()
        self._admitted: set[str] = set()
        self._looked = self._seen = 0.0
        self.refused: dict[Machine, str] = {}
        """Machines that cannot take part, with the reason."""

    def map(self, job: ClusterJob, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Process a job's items, and yield the index and the result of each exactly once, as it completes.

        Raises
        ------
        WorkerError
            If the job fails, if no machine can take part or is left, or if workers repeatedly die on an item.
        """
        ray, waiting, attempts = self._ray, deque(enumerate(items)), Counter[int]()
        shared, open_items = ray.put(job), set(range(len(items)))
        self._seen = time.monotonic()
        for member in self._members:
            member.accepted = False
        try:
            while open_items:
                self._look()
                for member, why in self._silent():
                    self._hand_back(member, why, waiting, attempts)
                self._question(shared)
                self._assign(shared, waiting)
                for stream, member in self._events():
                    if stream not in member.running:
                        continue  # its worker was just lost, and its items are queued again
                    try:
                        number, result = ray.get(next(stream))
                    except StopIteration:
                        del member.running[stream]
                        continue
                    except ray.exceptions.RayTaskError as error:
                        raise WorkerError(f"a worker at {member.machine.address} failed: {error.cause}") from error
                    except ray.exceptions.RayError as error:
                        self._hand_back(member, str(error), waiting, attempts)
                        continue
                    member.running[stream].pop(number, None)
                    if number in open_items:
                        open_items.discard(number)
                        yield number, result
        finally:
            self._questioned.clear()
            for member in self._members:
                for stream in member.running:
                    with suppress(Exception):
                        ray.cancel(stream)
                member.running.clear()

    def _look(self) -> None:
        """Start workers where they are needed: on machines that joined, and to replace workers that died."""
        now = time.monotonic()
        if now - self._looked > POLL:
            self._looked = now
            alive = [one for one in machines(self._ray) if one not in self.refused]
            places = Counter(member.machine.id for member in self._members)
            places.update(machine.id for machine, member in self._starting.values() if member is None)
            wanted = len(alive) if self._count is None else self._count
            while alive and sum(places.values()) < wanted:
                machine = min(alive, key=lambda one: places[one.id])
                if self._count is None and places[machine.id]:
                    break
                places[machine.id] += 1
                self._start(machine)
        if self._members or self._starting:
            self._seen = now
        elif now - self._seen > (PATIENCE if not self.refused else 0):
            reasons = "; ".join(f"{machine.address}: {why}" for machine, why in self.refused.items())
            raise WorkerError(f"no machine of the cluster can take part: {reasons or 'none has processors'}")

    def _start(self, machine: Machine) -> None:
        """Ask a machine for its versions, or start a worker if it has already reported them."""
        if machine.id not in self._admitted:
            self._starting[self._probe.options(**on(machine)).remote()] = machine, None
            return
        actor = self._kind.options(**on(machine)).remote(self._resources)
        member = _Member(machine, actor)
        self._members.append(member)
        self._starting[actor.load.remote()] = machine, member

    def _events(self) -> list[tuple[Any, _Member]]:
        """Wait briefly; return streams with a result, an end or an error, and handle starting workers."""
        ray = self._ray
        streams = {stream: member for member in self._members for stream in member.running}
        several = [*streams, *self._starting, *self._questioned]
        if not several:
            time.sleep(POLL)
            return []
        ready, _ = ray.wait(several, num_returns=1, timeout=POLL)
        if ready:
            more, _ = ray.wait(several, num_returns=len(several), timeout=0)
            ready = more or ready
        for one in [one for one in ready if one in self._starting]:
            self._started(one)
        for one in [one for one in ready if one in self._questioned]:
            self._answered(one)
        return [(one, streams[one]) for one in ready if one in streams]

    def _started(self, reference: Any) -> None:
        ray = self._ray
        machine, member = self._starting.pop(reference)
        try:
            found = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            self._refuse(machine, str(error.cause))
        except ray.exceptions.RayError as error:
            self._deaths[machine.id] += 1
            if member is not None:
                self._lost(member, str(error))
            if self._deaths[machine.id] > RETRIES:
                self._refuse(machine, f"its workers die before they have finished loading: {error!s:.300}")
        else:
            if member is not None:
                member.ready = True
                self._deaths[machine.id] = 0
            elif why := refusal(found):
                self._refuse(machine, why)
            else:
                self._admitted.add(machine.id)
                self._start(machine)

    def _question(self, shared: Any) -> None:
        """Ask ready workers whether they would compute exactly what the job states."""
        waiting = set(self._questioned.values())
        for member in self._members:
            if member.ready and not member.accepted and member not in waiting:
                self._questioned[member.actor.refusal.remote(shared)] = member

    def _answered(self, reference: Any) -> None:
        """Accept a worker, or refuse its machine."""
        ray, member = self._ray, self._questioned.pop(reference)
        try:
            why = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            why = str(error.cause)
        except ray.exceptions.RayError as error:
            self._lost(member, str(error))
            return
        member.accepted = not why
        if why:
            self._refuse(member.machine, why)

    def _assign(self, shared: Any, waiting: deque[tuple[int, Any]]) -> None:
        """Assign the next items to idle workers; assignments shrink as fewer items remain."""
        ready = [member for member in self._members if member.accepted]
        for _ in range(LANES):
            for member in sorted(ready, key=lambda one: len(one.running)):
                if not waiting or len(member.running) >= LANES:
                    continue
                size = max(1, min(MOST, len(waiting) // (2 * LANES * len(ready))))
                part = [waiting.popleft() for _ in range(min(size, len(waiting)))]
                stream = member.actor.run.options(num_returns="streaming").remote(shared, part)
                member.running[stream] = dict(part)

    def _silent(self) -> list[tuple[_Member, str]]:
        """Send heartbeats to workers; return the lost ones, each with the reason."""
        ray, now, found = self._ray, time.monotonic(), []
        sent = {member.beat: member for member in self._members if member.beat is not None}
        answered = set(ray.wait(list(sent), num_returns=len(sent), timeout=0)[0]) if sent else set()
        for member in self._members:
            if member.beat is None:
                if member.ready and now - member.last > BEAT:
                    member.beat, member.last = member.actor.beat.remote(), now
            elif member.beat in answered:
                try:
                    ray.get(member.beat)
                except ray.exceptions.RayError as error:
                    found.append((member, str(error)))
                member.beat, member.last = None, now
            elif now - member.last > SILENT:
                found.append((member, f"it has not answered for {SILENT:g} seconds"))
        return found

    def _hand_back(self, member: _Member, why: str, waiting: deque[tuple[int, Any]], attempts: Counter[int]) -> None:
        """Remove a lost worker and put its items back in the queue.

        Raises
        ------
        WorkerError
            If workers were repeatedly lost on one of the items.
        """
        self._lost(member, why)
        left = [(one, item) for part in member.running.values() for one, item in part.items()]
        member.running.clear()
        attempts.update(one for one, _ in left)
        waiting.extendleft(sorted(left, key=lambda pair: pair[0], reverse=True))
        if attempts and max(attempts.values()) > RETRIES:
            raise WorkerError(f"a worker died {RETRIES + 1} times while solving the same problems")

    def _lost(self, member: _Member, why: str) -> None:
        """Remove a worker that is lost, and kill its actor."""
        if member in self._members:
            _LOG.info("a worker at %s is lost: %.200s", member.machine.address, why)
            self._members.remove(member)
            self._looked = 0.0
        with suppress(Exception):
            self._ray.kill(member.actor)

    def _refuse(self, machine: Machine, why: str) -> None:
        """Exclude a machine."""
        self.refused[machine] = why
        _LOG.warning("the machine %s of the cluster is rejected: %s", machine.address, why)
        for member in [one for one in self._members if one.machine == machine]:
            self._lost(member, why)


@contextmanager
def opened_pool(
    address: str,
    shipments: Mapping[str, Shipment],
    *,
    count: int | None = None,
    journals: Path | None = None,
    now: datetime = DEFAULT_NOW,
    thinking: ThinkingMode | None = None,
) -> Iterator[Pool]:
    """Yield a pool on the cluster at an address; at the end its workers are stopped.

    Parameters
    ----------
    address : str
        The address, as for `connected`.
    shipments : mapping of str to Shipment
        The models by name, as described by `intact.evaluate.cluster.models.ship`.
    count : int, optional
        Number of workers, as for `Pool`.
    journals : Path, optional
        The folder on this machine for the journals of all workers.
    now : datetime, optional
        The time given to chat templates that need it.
    thinking : ThinkingMode, optional
        The thinking mode of the models.

    Raises
    ------
    NotInstalledError, ParameterError, WorkerError
        As `connected`.
    """
    with connected(address) as ray:
        here = Machine(ray.get_runtime_context().get_node_id(), "")
        files = ray.remote(FileServer).options(**on(here)).remote(dict(shipments))
        keeper = None
        if journals is not None:
            keeper = ray.remote(JournalKeeper).options(**on(here)).remote(journals.absolute())
        yield Pool(ray, Resources(dict(shipments), files, keeper, now, thinking=thinking), count)
        if keeper is not None:
            ray.get(keeper.close.remote())
