"""Containers of an OCI archive without Docker: its root unpacked, its command run as its user in new namespaces.

Both need root's rights. A program in a container reaches no network but its own loopback.
"""

import ctypes
import hashlib
import json
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.patience import PATIENCE

NEWNET = 0x40000000  # CLONE_NEWNET of sched.h
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_START = """
set -eu
root=$1; who=$2; shift 2
mount --make-rprivate / && mount --bind "$root" "$root" && mount -o remount,ro,bind "$root"
mount -t proc proc "$root/proc" && mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs tmpfs "$root/dev"
for each in null zero urandom random; do : >"$root/dev/$each"; mount --bind /dev/$each "$root/dev/$each"; done
mkdir "$root/dev/shm" && mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ip link set lo up 2>/dev/null || python3 -c '
import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh", b"lo", 1))'
exec chroot --userspec="$who" --groups= "$root" env -i "$@"
"""


def read_blobs(archive: Path) -> dict[str, bytes]:
    """Return the files of an archive by name; raise if one with a digest as its name has another digest."""
    with tarfile.open(archive) as tar:
        files = {info.name: tar.extractfile(info).read() for info in tar if info.isfile()}
    for name, content in files.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"
    return files


def config_of(files: Mapping[str, bytes]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the manifest and the configuration of an archive's only image."""
    (top,) = json.loads(files["index.json"])["manifests"]
    manifest = json.loads(files["blobs/" + top["digest"].replace(":", "/")])
    return manifest, json.loads(files["blobs/" + manifest["config"]["digest"].replace(":", "/")])


def unpack(archive: Path, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Unpack an archive's only image with its owners; return the folder of its root, and its configuration."""
    manifest, config = config_of(read_blobs(archive))
    root = folder / "root"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    with tarfile.open(archive) as outer:
        for layer in manifest["layers"]:
            blob = outer.extractfile("blobs/" + layer["digest"].replace(":", "/"))
            with tarfile.open(fileobj=blob, mode="r|gz") as tar:
                tar.extractall(root, numeric_owner=True, filter="fully_trusted")
    return root, config


class Container:
    """A running container.

    Parameters
    ----------
    arguments : sequence of str, optional
        Replaces the image's default command.
    variables : mapping, optional
        Environment variables besides the image's.
    """

    def __init__(
        self,
        root: Path,
        config: Mapping[str, Any],
        arguments: Sequence[str] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.root, self._config = root, config["config"]
        self._variables = [*self._config["Env"], *(f"{name}={value}" for name, value in (variables or {}).items())]
        self._emulator = self._add_emulator(config["architecture"])
        command = [*self._emulator, *self._config["Entrypoint"], *(arguments or self._config["Cmd"])]
        self._log = tempfile.NamedTemporaryFile(dir=root.parent, prefix="log-")  # noqa: SIM115
        start = ["unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child", "sh", "-c", _START]
        self._process = subprocess.Popen(
            [*start, "container", str(root), self._config["User"], *self._variables, *command],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def _add_emulator(self, architecture: str) -> list[str]:
        """Put an emulator into the root if the image is for another machine; it does not run programs of programs."""
        machine = MACHINES[architecture]
        if machine == platform.machine():
            return []
        shutil.copy(shutil.which(f"qemu-{machine}-static"), self.root / "emulator")
        return ["/emulator", "/usr/bin/python3"]

    def logs(self) -> str:
        """Return what the container has printed."""
        return Path(self._log.name).read_text("utf-8", "replace")

    def wait(self, text: str, seconds: float = PATIENCE) -> None:
        """Wait until the container has printed a text."""
        end = time.monotonic() + seconds
        while text not in self.logs():
            assert self._process.poll() is None, self.logs()
            assert time.monotonic() < end, self.logs()
            time.sleep(0.1)

    def run(self, *command: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command in the container, as `docker exec` does."""
        inside = ["nsenter", "--mount", "--net", "--ipc", "--uts", "--pid", "-t", str(self.first_process())]
        inside += ["chroot", f"--userspec={self._config['User']}", "--groups=", str(self.root), "env", "-i"]
        if self._emulator:  # which does not look on PATH
            command = (f"/usr/bin/{Path(command[0]).name}", *command[1:])
        whole = [*inside, *self._variables, *self._emulator, *command]
        return subprocess.run(whole, input=text, capture_output=True, text=True, check=False)

    @contextmanager
    def network(self) -> Iterator[None]:
        """Move this thread into the container's network, so that its sockets reach the container's ports."""
        libc = ctypes.CDLL(None, use_errno=True)
        with (
            Path("/proc/thread-self/ns/net").open() as before,
            Path(f"/proc/{self._process.pid}/ns/net").open() as there,
        ):
            assert libc.setns(there.fileno(), NEWNET) == 0, os.strerror(ctypes.get_errno())
            try:
                yield
            finally:
                assert libc.setns(before.fileno(), NEWNET) == 0

    def first_process(self) -> int:
        """Return the number of the container's first process on this machine."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return int(children[0])

    def stop(self, seconds: float = PATIENCE) -> int:
        """Ask the first process to end, as `docker stop` does; return the container's exit status."""
        if self._process.poll() is None:
            os.kill(self.first_process(), 15)
        try:
            return self._process.wait(seconds)
        finally:
            self._process.kill()
            self.last_logs = self.logs()
            self._log.close()
