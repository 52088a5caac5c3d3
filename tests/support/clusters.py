"""Clusters of several Ray nodes on this machine, and work for them that notes which process does it."""

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import intact
from intact.evaluate.cluster.connection import STARTS
from intact.evaluate.on_cluster import UnitsJob

SOURCES = os.pathsep.join([str(Path(intact.__file__).parents[1]), str(Path(__file__).parents[1])])
"""Folders of this package and of the tests, for the processes of nodes."""


@contextmanager
def ray_cluster(address: str | None = None, /, **variables: str) -> Iterator[Any]:
    """Yield a cluster whose head, with variables in its environment, runs no work; its nodes end with the block."""
    import ray
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 80 << 20}
    head |= {"env_vars": environment() | variables} | _at(address)
    cluster = _patiently(lambda: Cluster(initialize_head=True, head_node_args=head))
    try:
        yield cluster
    finally:
        with suppress(Exception):
            ray.shutdown()
        cluster.shutdown()


def add_node(cluster: Any, address: str | None = None, /, **variables: str) -> Any:
    """Add a node with one processor, and with variables in the environment of its processes."""
    options = {"object_store_memory": 80 << 20} | _at(address)
    return _patiently(lambda: cluster.add_node(num_cpus=1, env_vars=environment() | variables, **options))


def _patiently(start: Callable[[], Any]) -> Any:
    """Start something of Ray, again if it takes more time than Ray allows."""
    for left in reversed(range(STARTS)):
        try:
            return start()
        except Exception as error:
            if left == 0 or not (type(error) is Exception or isinstance(error, TimeoutError)):
                raise
    raise AssertionError


def _at(address: str | None) -> dict[str, Any]:
    return {} if address is None else {"node_ip_address": address}


def environment() -> dict[str, str]:
    """Return the environment of a node's processes."""
    ray = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", "RAY_raylet_start_wait_time_s": "300"}
    return {"PYTHONPATH": SOURCES, "INTACT_THREADS": "1"} | ray


@dataclass(frozen=True)
class NotingJob(UnitsJob):
    """Units of a plan, of which each process that works on them leaves notes in a folder.

    It leaves a file named by its number, with its tier and its variable NODE, and after each unit a file
    ``NODE-....unit``. It then sleeps for DELAY seconds, and hands nothing over before there is the file HOLD.
    """

    folder: str = ""

    def run(self, backends, items, journals):
        """Note the process, and work."""
        model = next(iter(backends.values())).model
        note = {"tier": model.executor.description["tier"], "node": os.environ.get("NODE", "")}
        place = Path(self.folder) / str(os.getpid())
        new = place.with_suffix(f".{threading.get_ident()}")
        new.write_text(json.dumps(note))
        new.rename(place)
        hold = os.environ.get("HOLD")
        for number, done in super().run(backends, items, journals):
            (Path(self.folder) / f"{note['node']}-{uuid4().hex}.unit").touch()
            time.sleep(float(os.environ.get("DELAY", "0")))
            while hold and not Path(hold).exists():
                time.sleep(0.05)
            yield number, done


def noted(folder: Path) -> dict[int, dict[str, str]]:
    """Return what the processes have noted, by their numbers."""
    return {int(file.name): json.loads(file.read_text()) for file in folder.iterdir() if not file.suffix}


def units_by_node(folder: Path) -> Counter[str]:
    """Return how many units the nodes have done, by their variable NODE; one that was done again counts again."""
    return Counter(file.name.partition("-")[0] for file in folder.glob("*.unit"))


def workers_of(node: Any) -> list[int]:
    """Return the processes of workers on a node of `add_node`, whatever they are doing."""
    raylet = node.all_processes["raylet"][0].process.pid
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == raylet and (place / "cmdline").read_bytes().startswith(b"ray::Worker"):
                found.append(int(place.name))
    return sorted(found)
