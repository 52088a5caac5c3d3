"""Machines with networks of their own on this one, in Linux namespaces, joined by a bridge: their cables can be cut.

A test that uses them runs itself again in a process with its own network, mounts and process numbers, so that nothing
changes for others, and nothing is left when it ends.
"""

import functools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

INSIDE = "INTACT_TEST_NAMESPACE"
HERE = "10.0.0.100"
"""The address of the test itself on the bridge."""
LIMIT = 1800.0
"""Seconds of a test in namespaces."""


def in_own_network(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test in a process with its own network; skip it where the system makes none."""

    @functools.wraps(test)
    def wrapped(*given: Any, **named: Any) -> None:
        if os.environ.get(INSIDE):
            test(*given, **named)
            return
        for tool in ("unshare", "nsenter", "ip"):
            if shutil.which(tool) is None:
                pytest.skip(f"needs {tool}, of util-linux and iproute2")
        own = ["unshare", *([] if os.geteuid() == 0 else ["-U", "-r"]), "-n", "-m", "-p", "-f"]
        own += ["--kill-child", "--mount-proc"]
        bridge = ["sh", "-c", "ip link add probe type bridge && ip link add near type veth peer name far"]
        if subprocess.run([*own, *bridge], capture_output=True, check=False).returncode:
            pytest.skip("this system makes no network namespaces with bridges")
        node = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0]
        line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "", node]
        first = ["sh", "-c", '"$@"; exit $?', "sh"]  # process 1, which takes leave of orphans
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        done = subprocess.run(
            [*own, *first, *line], env=environment | {INSIDE: "1"}, capture_output=True, text=True,
            cwd=Path(__file__).parents[2], check=False, timeout=LIMIT,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]

    return wrapped


class NamespaceMachine:
    """A machine behind a cable of its own.

    Attributes
    ----------
    address : str
        On the bridge.
    """

    def __init__(self, number: int, holder: "subprocess.Popen[bytes]") -> None:
        self.address, self._cable, self._holder = f"10.0.0.{number}", f"cable{number}", holder
        self.enter = ["nsenter", "-t", str(holder.pid), "-n", "-m"]
        """What stands before a command that runs there."""

    def join(self, prepare: str) -> None:
        """Plug the cable in, and run a shell's commands there."""
        own = Path("/proc/self/ns/net").readlink()
        wait_until(lambda: Path(f"/proc/{self._holder.pid}/ns/net").readlink() != own, "a network of its own")
        peer = ["peer", "name", "eth0", "netns", str(self._holder.pid)]
        _run("ip", "link", "add", self._cable, "type", "veth", *peer)
        _run("ip", "link", "set", self._cable, "master", "bridge0")
        self.heal()
        address = f"ip link set lo up && ip addr add {self.address}/24 dev eth0 && ip link set eth0 up"
        address += f" && ip route add default via {HERE}"  # Ray asks by which address it would reach others
        self.run("sh", "-c", f"{address} && mount -t tmpfs none /tmp/ray && {prepare}")

    def cut(self) -> None:
        """Cut the cable."""
        _run("ip", "link", "set", self._cable, "down")

    def heal(self) -> None:
        """Mend the cable."""
        _run("ip", "link", "set", self._cable, "up")

    def run(self, *line: str, **variables: str) -> str:
        """Run a command there, and return what it prints."""
        done = subprocess.run(
            [*self.enter, *line], env=os.environ | variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{' '.join(line)}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def start(self, line: list[str], log: Path, **variables: str) -> "subprocess.Popen[bytes]":
        """Start a command there, which writes into a log."""
        with log.open("wb") as stream:
            return subprocess.Popen(
                [*self.enter, *line], env=os.environ | variables, stdout=stream, stderr=stream, start_new_session=True
            )


@contextmanager
def network_of(count: int, prepare: str = "true") -> Iterator[list[NamespaceMachine]]:
    """Yield machines that have run a shell's commands; the test itself has `HERE` among them.

    Call it in a test with `in_own_network`. What runs on the machines ends with the test's process.
    """
    Path("/tmp/ray").mkdir(exist_ok=True)  # the place of Ray's files: each machine has its own
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "link", "add", "bridge0", "type", "bridge")
    _run("ip", "addr", "add", f"{HERE}/24", "dev", "bridge0")
    _run("ip", "link", "set", "bridge0", "up")
    holders = [subprocess.Popen(["unshare", "-n", "-m", "sleep", "infinity"]) for _ in range(count)]
    machines = [NamespaceMachine(number, holder) for number, holder in enumerate(holders, 1)]
    try:
        for machine in machines:
            machine.join(prepare)
        yield machines
    finally:
        for holder in holders:
            holder.kill()
            holder.wait()


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 300.0, pause: float = 0.05) -> None:
    """Wait for a condition; raise if it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} seconds for {what}")
        time.sleep(pause)


def _run(*line: str) -> None:
    subprocess.run(line, check=True, capture_output=True)
