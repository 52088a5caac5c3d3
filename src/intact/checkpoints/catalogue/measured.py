"""Stored digests of models, so that a known model's weights need not be read again to compute its digests.

They are stored in ``$INTACT_HOME/digests``, in one small file per state of a model's files: device, inode, size, times.
Writing to a file changes its times. Recently changed files are not trusted, since another change could have the same
time.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from intact._base.errors import FormatError
from intact._base.files import write_whole
from intact.checkpoints.catalogue.place import read_object, store

MOST = 1000
"""Maximum number of stored files; the oldest are deleted first."""
_SETTLED = 2_000_000_000
"""Nanoseconds after its last change during which a file is not trusted."""
_PART = re.compile(r"(.+)-\d{5}-of-(\d{5})\.gguf")


def state_of(path: Path, *, settled: bool = True) -> str | None:
    """Return a digest of the state of a model's files; None if they cannot be accessed.

    Parameters
    ----------
    settled : bool
        If true, also return None for recently changed files.
    """
    try:
        if path.is_dir():
            files = sorted(item for item in path.iterdir() if item.is_file())
        elif found := _PART.fullmatch(path.name):
            files = sorted(path.parent.glob(f"*-of-{found[2]}.gguf"))
        else:
            files = [path]
        stats = [(file.name, file.stat()) for file in files]
    except OSError:
        return None
    if settled and any(max(stat.st_mtime_ns, stat.st_ctime_ns) > time.time_ns() - _SETTLED for _, stat in stats):
        return None
    facts = [(name, stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for name, stat in stats]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def known_digests(path: Path) -> dict[str, Any] | None:
    """Return the digests of the model at a path, as from `ModelDigests.to_document`; None if they are not known."""
    state = state_of(path)
    if state is None:
        return None
    try:
        return read_object(_folder() / f"{state}.json")
    except (FormatError, OSError):
        return None


def remember_digests(path: Path, state: str | None, digests: dict[str, Any]) -> None:
    """Store the digests of a model, unless its files have changed since this state.

    If the folder is not writable, nothing is stored.
    """
    if state is None or state_of(path) != state:
        return
    folder = _folder()
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / f"{state}.json", json.dumps(digests))
        kept = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime)
        for file in kept[: max(0, len(kept) - MOST)]:
            file.unlink(missing_ok=True)


def measured_digests(path: Path, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the digests of a model's files; compute and store them if they are not known."""
    state, known = state_of(path), known_digests(path)
    if known is None:
        known = measure()
        remember_digests(path, state, known)
    return known


def _folder() -> Path:
    return store().parent / "digests"
