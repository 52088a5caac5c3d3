"""The socket by which commands of the same user reach a server: a file that nobody else may open.

It lies in ``$XDG_RUNTIME_DIR/intact``, or where there is no such folder in ``$INTACT_HOME/run``. The folder has mode
0700, the socket 0600; both sides check owner and mode, and the client also who listens. Imports nothing heavy.
"""

from __future__ import annotations

import os
import secrets
import socket
import stat
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from intact._base.errors import ParameterError
from intact.checkpoints.catalogue import store

LONGEST = 100
"""Bytes of a socket's path; systems allow 104 or 108."""


def runtime_folder() -> Path:
    """Return the folder of sockets, there or not."""
    given = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    return given / "intact" if given.is_absolute() and given.is_dir() else store().parent / "run"


def listen() -> socket.socket:
    """Return a socket of a new name in the runtime folder, which is made if need be; remove those of dead servers.

    Raises
    ------
    ParameterError
        If this system has no such sockets, or the folder is another user's, open to others, or its path too long.
    OSError
        If the folder or the socket cannot be made.
    """
    if sys.platform == "win32":
        raise ParameterError("this system has no sockets that only one user may open")
    folder = runtime_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _is_private(folder, stat.S_ISDIR):
        raise ParameterError(f"{folder} must be a folder of this user that is open to nobody else (chmod 700)")
    path = folder / f"serve-{os.getpid()}-{secrets.token_hex(4)}.sock"
    if len(os.fsencode(path)) > LONGEST:
        raise ParameterError(f"{path} is longer than a socket's path may be: name a shorter XDG_RUNTIME_DIR")
    for other in folder.glob("serve-*.sock"):
        if (found := connect(other)) is None:
            other.unlink(missing_ok=True)
        else:
            found.close()
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listening.bind(str(path))
    except BaseException:
        listening.close()
        raise
    finally:
        os.umask(before)
    return listening


def hide(listening: socket.socket) -> None:
    """Remove the file of a socket: nobody new finds it."""
    with suppress(OSError):
        Path(listening.getsockname()).unlink(missing_ok=True)


def sockets() -> list[Path]:
    """Return the sockets of this user's servers, dead ones too, the newest first."""
    folder = runtime_folder()
    if not _is_private(folder, stat.S_ISDIR):
        return []
    found = [path for path in folder.glob("serve-*.sock") if _is_private(path, stat.S_ISSOCK)]
    return sorted(found, key=_changed, reverse=True)


def connect(path: Path, seconds: float = 1.0) -> socket.socket | None:
    """Return a connection to a server of this user; None if nobody listens, or somebody else.

    Parameters
    ----------
    seconds : float
        How long connecting, and each later wait on the connection, may take.
    """
    if sys.platform == "win32" or not _is_private(path, stat.S_ISSOCK):
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(seconds)
    try:
        connection.connect(str(path))
        if peer_user(connection) in (os.geteuid(), None):
            return connection
    except OSError:
        pass
    connection.close()
    return None


def peer_user(connection: socket.socket) -> int | None:
    """Return the user at the other end of a connection; None where the system does not say."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(user)


def _is_private(path: Path, is_kind: Callable[[int], bool]) -> bool:
    """Return true if a path is of a kind, this user's, and open to nobody else; links are not followed."""
    if sys.platform == "win32":
        return False
    try:
        found = path.lstat()
    except OSError:
        return False
    return is_kind(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _changed(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0
