"""Joins a Ray cluster, or starts one on this machine alone."""

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
"""How long a cluster's address may take to answer."""
STARTS = 3
"""Attempts to start or join a cluster: Ray limits the time of each, which a busy machine may exceed."""


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
        If the text is no address.
    WorkerError
        If nobody answers at ``HOST:PORT``.
    """
    check_installed("work on many machines", "ray")
    if address in (LOCAL, AUTO):
        return
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal() and 0 < int(port) < 65536) or "/" in host:
        raise ParameterError(f"--ray takes {LOCAL}, {AUTO} or HOST:PORT of the cluster's head, got {address!r:.100}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
    except OSError as error:
        raise WorkerError(
            f"no Ray cluster answers at {address} ({error}); start its head there: "
            f"ray start --head --node-ip-address={host} --port={port}"
        ) from error


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Join a cluster (``auto``, ``HOST:PORT``), or start one on this machine alone (``local``); yield the module `ray`.

    A cluster of this machine alone listens on the loopback address.

    Raises
    ------
    NotInstalledError, ParameterError, WorkerError
        As of `check_cluster`; WorkerError also if there is no cluster, or one of another version of Ray or Python.
    """
    check_cluster(address)
    if address == LOCAL:  # Ray then listens on the loopback address alone, as it does where clusters are not supported
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        os.environ.setdefault("RAY_worker_niceness", "0")  # by default 15, so that all else on the machine goes first
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "60")  # a busy machine needs more than Ray's own limit
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "(?s).*")  # Ray would print the deaths of workers to stdout
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
    """Call ``ray.init``, again if Ray says that it took too long; raise WorkerError if it fails."""
    for left in reversed(range(STARTS)):
        try:
            ray.init(**options)
            return
        except Exception as error:
            late = type(error) is Exception  # the class that Ray raises then
            if late and left:
                continue
            if late or isinstance(error, ConnectionError | ValueError | RuntimeError):
                raise WorkerError(f"no Ray cluster at {address}: {error}") from error
            raise
