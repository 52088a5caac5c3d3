"""Servers for benchmarks, `intact serve` and llama.cpp's `llama-server`, each on a loopback port, started on demand."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

START = 600
"""Maximum number of seconds for a server to load its model."""
SLOTS = 8
"""Number of sequences that llama-server generates concurrently."""


def free_port() -> int:
    """Return a loopback port that is currently free."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Server:
    """A server that can be restarted with other settings on the same port.

    Parameters
    ----------
    side : str
        A tier of intact, or "llama.cpp".
    model : Path
        The GGUF file.
    llama : Path or None
        The program llama-server.
    log : Path
        File for the servers' output.
    more : sequence of str
        Additional options of llama-server.
    """

    def __init__(self, side: str, model: Path, llama: Path | None, log: Path, more: Sequence[str] = ()) -> None:
        self.side, self.model, self.llama, self.log, self.more = side, model, llama, log, more
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def _command(self, threads: int, cache: bool) -> list[str]:
        if self.side == "llama.cpp":
            options = ["-m", str(self.model), "--alias", "intact", "--jinja", "--no-webui"]
            options += ["-np", str(SLOTS), "-c", str(SLOTS * 2048), "--cache-ram", "400", "-t", str(threads)]
            return [str(self.llama), *options, *self.more, *([] if cache else ["--no-cache-prompt"])]
        options = ["serve", f"intact={self.model}", "--threads", str(threads), "--cache", "400MB", "--seconds", "7200"]
        return [sys.executable, "-m", "intact", *options, *([] if cache else ["--no-prefix-cache"])]

    def start(self, threads: int, cache: bool) -> None:
        """Start the server and wait until it answers, after stopping a running one."""
        self.stop()
        command = [*self._command(threads, cache), "--host", "127.0.0.1", "--port", str(self.port)]
        environment = os.environ | ({} if self.side == "llama.cpp" else {"INTACT_ISA": self.side})
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        ready = self.url + ("/health" if self.side == "llama.cpp" else "/ready")
        deadline = time.monotonic() + START
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise SystemExit(f"{command[0]} ended with status {self._process.returncode}: see {self.log}")
            try:
                if httpx.get(ready, timeout=30).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.2)
        raise SystemExit(f"the server was not ready within {START} seconds: see {self.log}")

    def stop(self) -> None:
        """Stop the server; open requests are cut off."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
