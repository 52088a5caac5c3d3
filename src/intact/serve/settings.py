"""Settings of the server, fixed at its start."""

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
"""Seconds that a refused request is read on, unseen: with bytes unread the connection would be reset, and the client
might lose the answer (RFC 9112, 9.6)."""


@dataclass(frozen=True)
class ServerSettings:
    """The server's address, who may use it, and its limits.

    Attributes
    ----------
    host, port : str, int
        The address. Any but a loopback address needs `keys`, or `no_auth`.
    keys : tuple of str
        API keys; with any, every request but those for the page and for health must bring one.
    no_auth : bool
        If true, serve other machines without a key.
    hosts : tuple of str
        Names under which browsers may reach the server, beside those of its address.
    origins : tuple of str
        Pages of other origins that may use the server (CORS), such as ``https://chat.example``.
    upload_bytes : int
        The longest file of a batch.
    body_bytes, header_bytes : int
        The longest body, the longest headers.
    body_seconds, header_seconds, idle_seconds : float
        How long each may take to arrive, and how long a connection may be idle.
    connections : int
        The most connections at a time.
    request_seconds, stall_seconds : float
        How long a request may take altogether, and how long a reader may read nothing.
    running : int
        The most texts that a model generates at a time.
    waiting : int
        The most requests that wait for a model; more are refused (429).
    max_tokens, max_choices : int
        The most tokens of a text, and texts of a request.
    memory_bytes : int, optional
        The most memory of all loaded models together, caches included.
    unload_seconds : float, optional
        How long a model may be unused before it is unloaded; without it models stay until others need their memory.
    state : Path, optional
        The folder of files, batches and responses; without one the former are absent, and responses are in memory.
    strict : bool
        If true, refuse fields of other servers even where they are harmless (`intact.serve.leniency`).
    seeds : {'fresh', 'fixed'}
        The seed of a request that states none: another each time, which its answer and its receipt state; or 0.
    any_name : bool
        If true, requests for a model of whatever name are answered by the only one.
    log : {'text', 'json'}
        The format of the log, which never holds the text of requests.
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
                "everybody use the server (--no-auth)"
            )
        for key in self.keys:
            if len(key) < 16 or not key.isascii() or not key.isprintable() or " " in key:
                raise ParameterError("an API key must have at least 16 characters, of printable ASCII, without spaces")
        if requested() == "none":
            raise ParameterError(
                "INTACT_SANDBOX=none would run the programs of clients' requests without any protection, which a "
                "server never does; unset it, or name bubblewrap or seccomp"
            )

    def check_names(self, names: Collection[str]) -> None:
        """Raise ParameterError if any name is to be answered, and the models and adapters have more than one."""
        if self.any_name and len(names) > 1:
            raise ParameterError(
                f"--any-name answers under any name by the only model, and here are {len(names)}: {', '.join(names)}; "
                "serve one of them, or leave out --any-name"
            )


def address_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that a host is; None if it is a name."""
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address."""
    address = address_of(host)
    return host == "localhost" if address is None else address.is_loopback


def read_keys(path: Path) -> tuple[str, ...]:
    """Read API keys from a file, one a line; skip empty lines and those that begin with #.

    Raises
    ------
    ParameterError
        If the file cannot be read, or has none.
    """
    lines = read_text(path, ParameterError).splitlines()
    keys = tuple(key for line in lines if (key := line.strip()) and not key.startswith("#"))
    if not keys:
        raise ParameterError(f"{path} has no API key; expected one a line")
    return keys
