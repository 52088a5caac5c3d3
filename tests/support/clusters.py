"""Clusters of several Ray nodes on this machine, and work for them that notes which process does it."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import intact
from intact.evaluate.cluster import UnitsJob

SOURCES = os.pathsep.join([str(Path(intact.__file__).parents[1]), str(Path(__file__).parents[1])])
"""Folders of this package and of the tests, for the processes of nodes."""


@contextmanager
def ray_cluster() -> Iterator[Any]:
    """Yield a cluster whose head runs no work; its nodes end with the block."""
    import ray
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 80 << 20, "env_vars": environment()}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield cluster
    finally:
        with suppress(Exception):
            ray.shutdown()
        cluster.shutdown()


def add_node(cluster: Any, **variables: str) -> Any:
    """Add a node with one processor, and with variables in the environment of its processes."""
    return cluster.add_node(num_cpus=1, object_store_memory=80 << 20, env_vars=environment() | variables)


def environment() -> dict[str, str]:
    """Return the environment of a node's processes."""
    return {"PYTHONPATH": SOURCES, "INTACT_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}


@dataclass(frozen=True)
class NotingJob(UnitsJob):
    """Units of a plan; each process that works on them leaves a file named by its number, with its tier."""

    folder: str = ""

    def run(self, backends, items, journals):
        """Note the process, and work."""
        model = next(iter(backends.values())).model
        note = {"tier": model.executor.description["tier"], "node": os.environ.get("NODE", "")}
        place = Path(self.folder) / str(os.getpid())
        new = place.with_suffix(f".{threading.get_ident()}")
        new.write_text(json.dumps(note))
        new.rename(place)
        yield from super().run(backends, items, journals)


def noted(folder: Path) -> dict[int, dict[str, str]]:
    """Return what the processes have noted, by their numbers."""
    return {int(file.name): json.loads(file.read_text()) for file in folder.iterdir() if not file.suffix}
