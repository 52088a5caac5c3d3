"""Settings of the server, fixed at startup."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from intact._base.errors import ParameterError
from intact._base.files import read_text
from intact.tools.sandbox.protection import requested

LINGER = 2.0
"""Seconds during which the rest of a rejected request is read and discarded: unread bytes would reset the connection,
and the client might lose the response (RFC 9112, 9.6).
"""


@dataclass(frozen=True)
class ServerSettings:
    """The server's address, access rules and limits.

    Attributes
    ----------
    host, port : str, int
        The address. Any address other than a loopback one requires `keys` or `no_auth`.
    keys : tuple of str
        API keys; if there are any, every request must carry one, except requests for the page and for health checks.
    no_auth : bool
        If true, serve other machines without requiring a key.
    hosts : tuple of str
        Host names under which browsers may reach the server, in addition to those of its address.
    origins : tuple of str
        Other origins whose pages may use the server (CORS), such as ``https://chat.example``.
    upload_bytes : int
        Maximum size of a batch file.
    body_bytes, header_bytes : int
        Maximum size of a body, and of the headers.
    body_seconds, header_seconds, idle_seconds : float
        Timeouts for receiving a body and headers, and for an idle connection.
    connections : int
        Maximum number of connections.
    request_seconds, stall_seconds : float
        Timeout for a whole request, and for a client that stops reading.
    running : int
        Maximum number of sequences that a model generates concurrently.
    waiting : int
        Maximum number of queued requests per model; more are rejected (429).
    max_tokens, max_choices : int
        Maximum tokens per completion, and completions per request.
    memory_bytes : int, optional
        Maximum total memory of all loaded models, including caches.
    unload_seconds : float, optional
        Idle time after which a model is unloaded; by default, models stay loaded until others need their memory.
    state : Path, optional
        Folder for files, batches and responses; without one, only responses are available, in memory.
    strict : bool
        If true, reject fields of other servers even if they are harmless (`intact.serve.leniency`).
    seeds : {'fresh', 'fixed'}
        Seed of a request without one: a new one each time, recorded in its answer and receipt; or 0.
    any_name : bool
        If true, the only model answers requests for any model name.
    log : {'text', 'json'}
        Format of the log, which never contains the text of requests.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    keys: tuple[str, ...] = ()
    no_auth: bool = False
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    body_bytes: int = 8 << 20
    header_bytes: int = 64 << 10
    upload_bytes: int = 256 << 20
    body_seconds: float = 30.0
    header_seconds: float = 10.0
    idle_seconds: float = 60.0
    connections: int = 2048
    request_seconds: float = 600.0
    stall_seconds: float = 60.0
    running: int = 256
    waiting: int = 256
    max_tokens: int = 8192
    max_choices: int = 128
    memory_bytes: int | None = None
    unload_seconds: float | None = None
    state: Path | None = None
    strict: bool = False
    seeds: Literal["fresh", "fixed"] = "fresh"
    any_name: bool = False
    log: str = "text"

    def __post_init__(self) -> None:
        if not (self.keys or self.no_auth or is_loopback(self.host)):
            raise ParameterError(
                f"{self.host} can be reached from other machines: give API keys (--api-keys FILE), or let "
                "everyone use the server (--no-auth)"
            )
        for key in self.keys:
            if len(key) < 16 or not key.isascii() or not key.isprintable() or " " in key:
                raise ParameterError("an API key must have at least 16 characters, of printable ASCII, without spaces")
        if requested() == "none":
            raise ParameterError(
                "INTACT_SANDBOX=none would run the programs of clients' requests without any protection, which a "
                "server never does; unset it, or set it to bubblewrap or seccomp"
            )

    def check_names(self, names: Collection[str]) -> None:
        """Raise ParameterError if any name is to be answered, but there is more than one model or adapter."""
        if self.any_name and len(names) > 1:
            raise ParameterError(
                f"--any-name needs a single model, but the server has {len(names)}: {', '.join(names)}; "
                "serve one of them, or leave out --any-name"
            )


def address_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Parse a host as an address; None if it is a name."""
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Return true if only this machine can reach an address."""
    address = address_of(host)
    return host == "localhost" if address is None else address.is_loopback


def read_keys(path: Path) -> tuple[str, ...]:
    """Read API keys from a file, one per line, skipping empty lines and those that begin with #.

    Raises
    ------
    ParameterError
        If the file cannot be read, or contains no key.
    """
    lines = read_text(path, ParameterError).splitlines()
    keys = tuple(key for line in lines if (key := line.strip()) and not key.startswith("#"))
    if not keys:
        raise ParameterError(f"{path} contains no API key; expected one per line")
    return keys
