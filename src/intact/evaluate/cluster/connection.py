"""Join a Ray cluster, or start one on this machine only."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from intact._base.errors import ParameterError, WorkerError
from intact._base.packages import check_installed

LOCAL = "local"
AUTO = "auto"
LOOPBACK = "127.0.0.1"
ANSWER_SECONDS = 5.0
"""Timeout for connecting to a cluster's address."""
STARTS = 3
"""Attempts to start or join a cluster; each has a timeout in Ray, which a busy machine may exceed."""


def check_cluster(address: str) -> None:
    """Raise unless Ray is installed and a cluster answers at an address; nothing is started.

    Parameters
    ----------
    address : str
        ``local``, ``auto``, or ``HOST:PORT`` of the cluster's head.

    Raises
    ------
    NotInstalledError
        If Ray is missing.
    ParameterError
        If the address is invalid.
    WorkerError
        If nothing answers at ``HOST:PORT``.
    """
    check_installed("work on many machines", "ray")
    if address in (LOCAL, AUTO):
        return
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal() and 0 < int(port) < 65536) or "/" in host:
        raise ParameterError(f"--ray must be {LOCAL}, {AUTO} or HOST:PORT of the cluster's head, got {address!r:.100}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
    except OSError as error:
        raise WorkerError(
            f"no Ray cluster answers at {address} ({error}); start its head on that machine: "
            f"ray start --head --node-ip-address={host} --port={port}"
        ) from error


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Join a cluster (``auto``, ``HOST:PORT``) or start one on this machine (``local``); yield the module `ray`.

    A local cluster listens on the loopback address.

    Raises
    ------
    NotInstalledError, ParameterError, WorkerError
        As `check_cluster`; WorkerError also if there is no cluster, or it runs a different version of Ray or Python.
    """
    check_cluster(address)
    if address == LOCAL:  # make Ray listen on loopback only, as it does on platforms without clusters
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        os.environ.setdefault("RAY_worker_niceness", "0")  # the default, 15, puts all other processes first
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "60")  # a busy machine may exceed Ray's own timeout
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "(?s).*")  # Ray would print worker deaths to stdout
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if address == LOCAL:
        options |= {"_node_ip_address": LOOPBACK, "include_dashboard": False, "address": LOCAL}
    else:
        options["address"] = address
    _init(ray, address, options)
    try:
        yield ray
    finally:
        with suppress(Exception):  # the cluster may be gone
            ray.shutdown()


def _init(ray: Any, address: str, options: dict[str, Any]) -> None:
    """Call ``ray.init``, and retry if Ray reports a timeout; raise WorkerError if it fails."""
    for left in reversed(range(STARTS)):
        try:
            ray.init(**options)
            return
        except Exception as error:
            late = type(error) is Exception  # Ray raises a bare Exception on timeouts
            if late and left:
                continue
            if late or isinstance(error, ConnectionError | ValueError | RuntimeError):
                raise WorkerError(f"no Ray cluster at {address}: {error}") from error
            raise
