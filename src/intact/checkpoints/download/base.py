"""Shared parts of pulls: progress, errors, digests, locks, and disk space."""

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
"""Called with the stage ("fetch", "unpack", "check", "wait"), the number of bytes done, and the total number of bytes
if known.
"""

CHUNK = 1 << 20
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class DownloadError(IntactError):
    """Raised when a model could not be downloaded; the message names the source and suggests a remedy."""


class NoSpaceError(DownloadError):
    """Raised when the store does not have enough space for a file."""


class WrongContentError(DownloadError):
    """Raised when data downloaded now, or left by an earlier call, is not the requested file and must be discarded."""


@dataclass(frozen=True)
class Pulled:
    """A model in the store."""

    name: str
    path: Path
    bytes: int
    sha256: str | None
    """Digest of the file; None if there are several files."""
    source: str
    fresh: bool
    """True if this call downloaded it."""
    files: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each file, for hub models."""


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
    """Hold a lock file, so that two processes do not pull the same thing at once; report if this requires waiting."""
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
    """Write a file's buffered data to disk."""
    file.flush()
    os.fsync(file.fileno())


def require_space(folder: Path, needed: int, name: object) -> None:
    """Raise if a folder's disk has less free space than a model needs.

    Raises
    ------
    NoSpaceError
        If there is not enough space.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise NoSpaceError(
            f"{folder} has {free / 1e6:.0f} MB free, but pulling {name} needs {needed / 1e6:.0f} MB: "
            "free some space, or point INTACT_HOME elsewhere"
        )


@contextmanager
def space_errors(folder: Path, name: object) -> Iterator[None]:
    """Turn file system errors into a one-line message that suggests a remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise NoSpaceError(
                f"{folder} ran full while pulling {name} ({error.strerror}): free some space, or point INTACT_HOME "
                "elsewhere"
            ) from error
        raise DownloadError(f"cannot write to the store {folder}: {error}") from error
