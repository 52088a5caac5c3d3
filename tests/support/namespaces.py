"""A Ray cluster whose far node has a network and a disk of its own, in Linux namespaces: both can fail.

A test that uses it runs itself again in a process with a network of its own, so that nothing here changes for others.
"""

import functools
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from support.clusters import add_node, environment, ray_cluster

INSIDE = "INTACT_TEST_NAMESPACE"
NEAR, FAR = "10.203.0.1", "10.203.0.2"
HEALTH = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
}
"""A node that does not answer for about six seconds counts as lost."""


def in_own_network(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test in a process with its own network and mounts; skip it where the system makes none."""

    @functools.wraps(test)
    def wrapped(*given: Any, **named: Any) -> None:
        if os.environ.get(INSIDE):
            test(*given, **named)
            return
        own = ["unshare", *([] if os.geteuid() == 0 else ["-U", "-r"]), "-n", "-m"]
        for tool in ("unshare", "nsenter", "ip"):
            if shutil.which(tool) is None:
                pytest.skip(f"needs {tool}, of util-linux and iproute2")
        if subprocess.run([*own, "ip", "link", "set", "lo", "up"], capture_output=True, check=False).returncode:
            pytest.skip("this system makes no network namespaces")
        node = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0]
        line = [*own, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "", node]
        root = Path(__file__).parents[2]
        done = subprocess.run(
            line, env={**os.environ, INSIDE: "1"}, capture_output=True, text=True, cwd=root, check=False
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]

    return wrapped


class NamespaceCluster:
    """A head without work and a near node here, and a far node behind a cable that can be cut."""

    def __init__(self, address: str, far: subprocess.Popen[bytes]) -> None:
        self.address, self.far = address, far

    def cut(self, heal_after: float | None = None) -> None:
        """Cut the cable, for some seconds or until `heal`."""
        _run("ip", "link", "set", "near", "down")
        if heal_after is not None:
            threading.Timer(heal_after, self.heal).start()

    def heal(self) -> None:
        """Mend the cable."""
        _run("ip", "link", "set", "near", "up")

    def wait_for_loss(self, seconds: float = 90.0) -> None:
        """Wait until the far node has ended, as it must when it learns that it counts as lost."""
        self.far.wait(seconds)


@contextmanager
def in_namespaces(folder: Path, disk: str | None = None) -> Iterator[NamespaceCluster]:
    """Yield such a cluster.

    Parameters
    ----------
    folder : Path
        Of the test; its model is hidden from the far node if that has a disk of its own.
    disk : str, optional
        The size of the far node's disk for models, such as 16k.
    """
    home = folder / "home"
    home.mkdir()
    _run("ip", "link", "set", "lo", "up")
    script = "read go && ip link set lo up && "
    if disk is not None:
        hidden = f"mount --bind /dev/null {folder / 'tiny.gguf'}"
        script += f"mount -t tmpfs -o size={disk} none {home} && {hidden} && "
    own = {**os.environ, **environment(), **HEALTH, "NODE": "far", "DELAY": "0.3", "INTACT_HOME": str(home)}
    with ray_cluster(NEAR, **HEALTH) as cluster:
        add_node(cluster, NEAR, NODE="near", DELAY="0.3")
        options = f"--address={cluster.address} --node-ip-address={FAR} --num-cpus=1 --object-store-memory=83886080"
        script += f"exec {sys.executable} -m ray.scripts.scripts start {options} --block"
        command = ["unshare", "-n", "-m", "sh", "-c", script]
        with (folder / "far.log").open("wb") as log:
            far = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=own, start_new_session=True
            )
        try:
            time.sleep(0.5)  # until it has its network
            _run("ip", "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", str(far.pid))
            _run("ip", "addr", "add", f"{NEAR}/24", "dev", "near")
            _run("ip", "link", "set", "near", "up")
            inside = ["nsenter", "-t", str(far.pid), "-n", "ip"]
            _run(*inside, "addr", "add", f"{FAR}/24", "dev", "far")
            _run(*inside, "link", "set", "far", "up")
            assert far.stdin is not None
            far.stdin.write(b"go\n")
            far.stdin.flush()
            yield NamespaceCluster(cluster.address, far)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(far.pid, 15)
            with suppress(subprocess.TimeoutExpired):
                far.wait(20)
            with suppress(ProcessLookupError):
                os.killpg(far.pid, 9)


def _run(*line: str) -> None:
    subprocess.run(line, check=True, capture_output=True)
