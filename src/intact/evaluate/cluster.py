"""Spreads the units of a plan over the workers of a Ray cluster; the result is that of one machine."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from intact import __version__
from intact.errors import NotInstalledError, WorkerError
from intact.evaluate.manifest import digest, manifest
from intact.evaluate.models import Shipment, receive
from intact.evaluate.plan import Plan, Unit
from intact.evaluate.results import ItemRecord
from intact.evaluate.work import Done, How, work
from intact.packages import install
from intact.reason.journal import Journal, key_of
from intact.reason.registry import find
from intact.text.template import DEFAULT_NOW, read_time

RETRIES = 3
"""Restarts of a worker that died, its work being repeated."""
MOST = 16
"""Most units in one assignment; as many are repeated if a worker dies."""
FILE = "records.sqlite"
LOCAL = "local"


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Join a cluster (``auto``, ``HOST:PORT``), or start one on this machine alone (``local``).

    Raises
    ------
    ParameterError
        If Ray is missing.
    WorkerError
        If there is no cluster.
    """
    if find_spec("ray") is None:
        raise NotInstalledError(f"many machines need Ray: {install('ray')}")
    import ray

    where = {} if address == LOCAL else {"address": address}
    try:
        ray.init(
            **where, include_dashboard=False if address == LOCAL else None, log_to_driver=False, logging_level="error"
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise WorkerError(f"no Ray cluster at {address}: {error}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def spread(
    address: str,
    shipments: Mapping[str, Shipment],
    described: Mapping[str, Any],
    workers: int | None = None,
) -> Callable[[Plan, Sequence[Unit], How], Generator[Done, None, None]]:
    """Return a function that does a plan's units on the workers of a cluster.

    Parameters
    ----------
    shipments : mapping
        The models by name, as `intact.evaluate.models.ship` describes them.
    described : mapping
        The plan's manifest; a worker whose manifest would differ is refused.
    workers : int, optional
        By default one for each machine of the cluster.
    """

    def work_on(plan: Plan, units: Sequence[Unit], how: How) -> Generator[Done, None, None]:
        with connected(address) as ray, closing(_Known(how.journal, described)) as known:
            waiting = []
            for unit in units:
                if (done := known.find(unit)) is None:
                    waiting.append(unit)
                else:
                    yield done
            count = workers or len([node for node in ray.nodes() if node["Alive"]])
            for done in _work(ray, shipments, described, count, plan, waiting, how):
                known.add(done)
                yield done

    return work_on


def _work(
    ray: Any,
    shipments: Mapping[str, Shipment],
    described: Mapping[str, Any],
    count: int,
    plan: Plan,
    units: Sequence[Unit],
    how: How,
) -> Iterator[Done]:
    from ray.util import ActorPool

    files = ray.remote(num_cpus=0)(_Files).remote(dict(shipments))
    kind = ray.remote(max_restarts=RETRIES, max_task_retries=RETRIES, scheduling_strategy="SPREAD")(_Worker)
    shared = ray.put((replace(plan, method=None), dict(shipments), dict(described)))  # type: ignore[arg-type]
    actors = [kind.remote(shared, files, how.parallel) for _ in range(min(count, max(1, len(units))))]
    size = max(1, min(MOST, -(-len(units) // (4 * len(actors)))))
    parts = [list(units[i : i + size]) for i in range(0, len(units), size)]
    try:
        for several in ActorPool(actors).map_unordered(lambda actor, part: actor.work.remote(part), parts):
            yield from several
    except ray.exceptions.RayTaskError as error:
        raise WorkerError(f"a worker failed: {error.cause}") from error
    except ray.exceptions.RayError as error:
        raise WorkerError(f"a worker died {RETRIES + 1} times over the same problems: {error!s:.300}") from error


class _Files:
    """An actor that reads parts of models' files on the machine where they are."""

    def __init__(self, shipments: Mapping[str, Shipment]) -> None:
        self._shipments = shipments

    def read(self, name: str, number: int, start: int) -> bytes:
        return self._shipments[name].read(number, start)


class _Worker:
    """An actor that loads the models once, then works on the units assigned to it."""

    def __init__(self, shared: tuple[Plan, dict[str, Shipment], dict[str, Any]], files: Any, parallel: int) -> None:
        import ray

        from intact.library import load
        from intact.reason.backends.native import NativeBackend

        bare, shipments, described = shared
        self._plan, self._how = replace(bare, method=find(bare.source)), How(parallel=parallel)
        self._backends, now = {}, DEFAULT_NOW if described["now"] is None else read_time(described["now"])
        for name, shipment in shipments.items():

            def read(number: int, start: int, name: str = name) -> bytes:
                part: bytes = ray.get(files.read.remote(name, number, start))
                return part

            self._backends[name] = NativeBackend(load(receive(shipment, read), **shipment.options), now)
        self._refusal = _difference(described, manifest(self._plan, self._backends))

    def work(self, units: Sequence[Unit]) -> list[Done]:
        if self._refusal:
            raise WorkerError(self._refusal)
        return list(work(self._backends, self._plan, units, self._how))


def _difference(described: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    """Return a message if a worker's manifest differs, with the first field that does."""
    wrong = [name for name in described if described[name] != own.get(name)]
    return f"it would compute something else: {wrong[0]} is {own.get(wrong[0])!r:.300}" if wrong else ""


class _Known:
    """A journal of the records that workers have returned."""

    def __init__(self, folder: Path | None, described: Mapping[str, Any]) -> None:
        self._journal, self._digest = Journal.inside(folder, FILE), digest(described)

    def _key(self, unit: Unit) -> bytes:
        return key_of("record", __version__, self._digest, list(unit))

    def find(self, unit: Unit) -> Done | None:
        found = self._journal.find(self._key(unit))
        return None if found is None else Done(unit, ItemRecord.of(found[0]), found[1])

    def add(self, done: Done) -> None:
        self._journal.add(self._key(done.unit), [done.record.as_dict(), done.trace])
        self._journal.commit()

    def close(self) -> None:
        self._journal.close()
