"""Removing models from the store."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from intact._base.errors import ParameterError
from intact.checkpoints.catalogue import CATALOGUE, Entry, HubName, store
from intact.checkpoints.catalogue.listing import Listing
from intact.checkpoints.catalogue.place import LISTING
from intact.checkpoints.catalogue.pulled import all_pulled, open_pulled, record_path
from intact.checkpoints.catalogue.variants import choose
from intact.checkpoints.download.base import DownloadError
from intact.checkpoints.download.entry import leftovers, lock_path
from intact.checkpoints.download.entry import record_path as entry_record_path


@dataclass(frozen=True)
class Removed:
    """A model to be removed, or already removed: its name, and the paths and total bytes of its files."""

    name: str
    paths: tuple[Path, ...]
    bytes: int


def removable(name: str) -> Removed:
    """List everything that removing a model would delete: its complete and partial files, and its record.

    Parameters
    ----------
    name : str
        A name from the catalogue or on the hub.

    Raises
    ------
    ParameterError
        If the name is invalid, or no part of the model is in the store.
    """
    paths = _of_entry(CATALOGUE[name]) if name in CATALOGUE else _of_hub(HubName.parse(name))
    if not paths:
        raise ParameterError(f"{name} is not in the store {store()}, so it cannot be removed")
    return Removed(name, tuple(paths), sum(map(_bytes, paths)))


def remove(name: str) -> Removed:
    """Delete a model from the store; removing a repository's last model also deletes its listing.

    Raises
    ------
    DownloadError
        If the model is being pulled.
    ParameterError
        As in `removable`.
    """
    found = removable(name)
    lock = _lock(name)
    try:
        with FileLock(lock, timeout=0):
            for path in found.paths:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    except Timeout:
        raise DownloadError(f"{name} is being pulled right now; stop the pull first") from None
    lock.unlink(missing_ok=True)
    if name not in CATALOGUE:
        folder = HubName.parse(name).folder
        for path in (folder, folder.parent, folder.parent.parent):
            with suppress(OSError):  # the folder has other contents
                path.rmdir()
    return found


def _lock(name: str) -> Path:
    if name in CATALOGUE:
        return lock_path(CATALOGUE[name], store())
    hub = HubName.parse(name)
    listing = Listing.kept(hub.folder)
    assert listing is not None
    return hub.folder / f".{choose(listing, hub.choice).name}.lock"


def _of_entry(entry: Entry) -> list[Path]:
    folder = store()
    own = [folder / entry.file, entry_record_path(entry, folder), folder / f".{entry.file}.package"]
    return [path for path in own if path.exists()] + [
        path for source in entry.sources for path in leftovers(source, entry, folder) if path.parent == folder
    ]


def _of_hub(name: HubName) -> list[Path]:
    listing = Listing.kept(name.folder)
    if listing is None:
        return []
    variant = choose(listing, name.choice)
    own = [open_pulled(name, listing, variant).folder, record_path(name.folder, variant)]
    if not any(one.folder.parent == name.folder and one.variant != variant for one in all_pulled()):
        own.append(name.folder / LISTING)
    return [path for path in own if path.exists()]


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
