"""The socket through which commands of the same user reach a server: a file that no other user can open.

It is in ``$XDG_RUNTIME_DIR/intact`` or, if that folder is missing, in ``$INTACT_HOME/run``. The folder has mode 0700
and the socket 0600; both sides check owner and mode, and the client also checks which user listens. This module has no
heavy imports.
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
"""Maximum length in bytes of a socket's path; systems allow 104 or 108."""


def runtime_folder() -> Path:
    """Return the folder of sockets, which may not exist."""
    given = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    return given / "intact" if given.is_absolute() and given.is_dir() else store().parent / "run"


def listen() -> socket.socket:
    """Return a socket with a new name in the runtime folder, created if needed; remove sockets of dead servers.

    Raises
    ------
    ParameterError
        If this system does not support such sockets, the folder belongs to another user or is open to others, or its
        path is too long.
    OSError
        If the folder or the socket cannot be created.
    """
    if sys.platform == "win32":
        raise ParameterError("this system has no sockets that are restricted to one user")
    folder = runtime_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _is_private(folder, stat.S_ISDIR):
        raise ParameterError(f"{folder} must be a folder of this user that other users cannot access (chmod 700)")
    path = folder / f"serve-{os.getpid()}-{secrets.token_hex(4)}.sock"
    if len(os.fsencode(path)) > LONGEST:
        raise ParameterError(f"{path} is too long for a socket's path: set XDG_RUNTIME_DIR to a shorter one")
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
    """Remove the file of a socket, so that no new client finds it."""
    with suppress(OSError):
        Path(listening.getsockname()).unlink(missing_ok=True)


def sockets() -> list[Path]:
    """Return the sockets of this user's servers, including dead ones, newest first."""
    folder = runtime_folder()
    if not _is_private(folder, stat.S_ISDIR):
        return []
    found = [path for path in folder.glob("serve-*.sock") if _is_private(path, stat.S_ISSOCK)]
    return sorted(found, key=_changed, reverse=True)


def connect(path: Path, seconds: float = 1.0) -> socket.socket | None:
    """Return a connection to a server of this user; None if no process listens, or another user's does.

    Parameters
    ----------
    seconds : float
        Timeout for connecting, and for each later wait on the connection.
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
    """Return the user at the other end of a connection; None if the system does not report it."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(user)


def _is_private(path: Path, is_kind: Callable[[int], bool]) -> bool:
    """Return true if a path has the given type, belongs to this user, and is closed to others; do not follow links."""
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
