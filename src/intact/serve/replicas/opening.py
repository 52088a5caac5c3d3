"""Open a fleet: join the cluster, describe the models' files, and leave the cluster again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import ceil
from pathlib import Path

from intact._base.errors import ParameterError
from intact.checkpoints.catalogue import resolve
from intact.evaluate.cluster.connection import connected
from intact.evaluate.cluster.machines import Machine, machines, on
from intact.evaluate.cluster.models import FileServer, ship
from intact.serve.models import Loading
from intact.serve.replicas.fleet import Fleet
from intact.serve.replicas.replica import ReplicaPlan
from intact.serve.replicas.routing import Route
from intact.serve.replicas.scaling import FleetSize
from intact.serve.settings import ServerSettings


def check_replicas(loading: Loading, settings: ServerSettings) -> None:
    """Raise ParameterError if settings name folders of a single machine, which replicas cannot use."""
    named = {
        "--state": settings.state,
        "--adapter": loading.adapters,
        "--drafter": loading.drafter,
        "--draft-model": loading.draft_model,
        "--prefix-cache": None if isinstance(loading.prefix_cache, bool) else loading.prefix_cache,
    }
    for option, value in named.items():
        if value:
            raise ParameterError(f"{option} cannot be combined with --ray: each replica loads only its own model")


@contextmanager
def opened_fleet(
    address: str,
    paths: Mapping[str, str | Path],
    loading: Loading,
    settings: ServerSettings,
    *,
    size: FleetSize | None = None,
    route: Route = "prefix",
) -> Iterator[Fleet]:
    """Yield a fleet on the cluster at an address; its replicas start in the server's event loop.

    Parameters
    ----------
    address : str
        As in `intact.evaluate.cluster.connection.connected`.
    paths : mapping of str to str or Path
        The models, by the names that clients use.
    size : FleetSize, optional
        As in `Fleet`.

    Raises
    ------
    NotInstalledError, ParameterError, WorkerError
        As for `check_replicas` and `connected`.
    """
    check_replicas(loading, settings)
    places = {name: resolve(path) for name, path in paths.items()}
    shipments = {name: ship(path, {}) for name, path in places.items()}
    created = {name: int(path.stat().st_mtime) for name, path in places.items()}
    with connected(address) as ray:
        here = Machine(ray.get_runtime_context().get_node_id(), "")
        files = ray.remote(FileServer).options(**on(here)).remote(shipments)
        share = ceil((1 if size is None else size.most) / max(1, len(machines(ray))))
        plan = ReplicaPlan(shipments, created, loading, settings, share=share)
        yield Fleet(ray, plan, files, size, route=route)
