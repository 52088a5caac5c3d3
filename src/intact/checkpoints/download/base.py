"""Common parts of pulls: progress, errors, digests, locks, and space on the disk."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from intact._base.errors import IntactError

Report = Callable[[str, int, int | None], None]
"""Called with the stage ("fetch", "unpack", "check", "wait"), the bytes done, and the total bytes if known."""

CHUNK = 1 << 20
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class DownloadError(IntactError):
    """A model could not be fetched; the message names the source and what to do."""


class NoSpaceError(DownloadError):
    """The store has not enough space for the file."""


class WrongContentError(DownloadError):
    """The data fetched now, or left by an earlier call, is not the file and must be thrown away."""


@dataclass(frozen=True)
class Pulled:
    """A model in the store."""

    name: str
    path: Path
    bytes: int
    sha256: str | None
    """Of the file; None where there are several."""
    source: str
    fresh: bool
    """True if this call fetched it."""
    files: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each file, where the model is of the hub."""


def sha256(path: Path, report: Callable[[int], None] = lambda done: None) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
            done += len(block)
            report(done)
    return digest.hexdigest()


@contextmanager
def locked(path: Path, report: Report) -> Iterator[None]:
    """Hold a lock file, that two processes do not pull the same at once; report if that means waiting."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        report("wait", 0, None)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def sync(file: Any) -> None:
    """Write what is buffered of a file to the disk."""
    file.flush()
    os.fsync(file.fileno())


def require_space(folder: Path, needed: int, name: object) -> None:
    """Raise if a folder's disk has no room for so many bytes of a model.

    Raises
    ------
    NoSpaceError
        If so.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise NoSpaceError(
            f"{folder} has {free / 1e6:.0f} MB free, pulling {name} needs {needed / 1e6:.0f} MB: "
            "make room, or point INTACT_HOME elsewhere"
        )


@contextmanager
def space_errors(folder: Path, name: object) -> Iterator[None]:
    """Turn errors of the file system into one line that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise NoSpaceError(
                f"{folder} is full ({error.strerror}), pulling {name}: make room, or point INTACT_HOME elsewhere"
            ) from error
        raise DownloadError(f"cannot write the store {folder}: {error}") from error
