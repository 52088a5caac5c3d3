"""A folder of KV cache pages that outlive the process and are verified when read (docs/engine.md).

Each page is a file named by a digest of everything its bytes depend on: model, arithmetic, layout, and all tokens up
to its end. A page found under its name is therefore right unless the file is damaged, which the stored digest reveals.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact._base.files import write_whole
from intact._base.system import processors

_LOG = logging.getLogger("intact")
FORMAT: Final = 1
"""File format version; the pages' names depend on it."""
DEFAULT_BYTES: Final = 4_000_000_000
PENDING_BYTES: Final = 256 << 20
"""Maximum bytes of pages waiting to be written; further pages are skipped, and written when they are used again."""
VERSIONS: Final = ("format", "numerics", "layout")
"""Fields of an identity that are versions."""
_MAGIC: Final = b"intact page\n"
_DIGEST: Final = hashlib.sha256().digest_size
HEAD: Final = len(_MAGIC) + 2 * _DIGEST
_WINDOW: Final = 16
"""Number of pages read at a time."""
_MODEL, _PAGE = re.compile(r"[0-9a-f]{32}"), re.compile(r"[0-9a-f]{64}")
_PART = re.compile(r"[0-9a-f]{64}\.[0-9a-f]{16}\.part")


@dataclass
class StoreCounts:
    """Page counters: read and used; written; evicted; found damaged; skipped for lack of room."""

    read: int = 0
    written: int = 0
    removed: int = 0
    damaged: int = 0
    left_out: int = 0

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return asdict(self)


class Pages(Protocol):
    """A store of pages that an engine may load instead of computing them, and to which it offers the pages it has.

    Attributes
    ----------
    root : bytes
        Key of the empty sequence.
    counts : StoreCounts
        Counters so far.
    """

    root: bytes
    counts: StoreCounts

    def read(self, keys: Iterable[bytes]) -> Iterator[NDArray[np.uint8]]:
        """Yield the pages of successive keys, up to the first missing one."""

    def keep(self, pages: Sequence[tuple[bytes, int]], read: Callable[[int], NDArray[np.uint8]]) -> None:
        """Store copies of pages, given by key and page number; `read` returns a page's bytes."""

    def close(self) -> None:
        """Release the store's resources."""


def page_key(before: bytes, tokens: bytes) -> bytes:
    """Return the key of a page: SHA-256 of the previous page's key followed by the page's tokens as int32."""
    return hashlib.sha256(before + tokens).digest()


class _File(NamedTuple):
    """A page file; sorts by last use, the least recent first."""

    used: int
    path: Path
    size: int


class PageStore:
    """The pages of one model in a folder, which other models and several processes may use at the same time.

    A background thread writes the pages. Write and read errors only cost time: the pages are then computed.

    Parameters
    ----------
    folder : Path
        Created if absent, accessible only to its user. Anyone who can write to it controls its readers' results.
    identity : mapping
        Everything that a page depends on except its tokens.
    page_bytes : int
        Size of a page in bytes.
    limit : int
        Maximum size of all files in the folder; the least recently used are removed.

    Attributes
    ----------
    root : bytes
        Key of the empty sequence.
    counts : StoreCounts
        Counters so far.

    Raises
    ------
    ParameterError
        If the folder cannot be created, or the limit is less than one page.
    """

    def __init__(
        self, folder: Path, identity: Mapping[str, str | int], page_bytes: int, limit: int = DEFAULT_BYTES
    ) -> None:
        self.folder, self.limit, self.counts = folder, limit, StoreCounts()
        self._page_bytes, self._size = page_bytes, HEAD + page_bytes
        if limit < self._size:
            raise ParameterError(
                f"prefix_cache_bytes must be at least {self._size:,}, the size of a page, got {limit:,}"
            )
        about = {"format": FORMAT, **identity, "page_bytes": page_bytes}
        self.root = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).digest()
        self._own = folder / self.root.hex()[:32]
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._own.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ParameterError(
                f"prefix_cache: {folder} cannot be used as a folder of pages: {error.strerror}"
            ) from error
        self._logged: set[str] = set()
        self._counting = Lock()  # guards counters that several threads update
        self._describe(about)
        self._written = {path.name for path in self._own.iterdir() if _PAGE.fullmatch(path.name)}  # as last known
        self._start()

    def _start(self) -> None:
        """Create the resources that a forked process cannot share with its parent."""
        from filelock import FileLock  # imported here, as it is only needed with a folder

        self._process, self._pending = os.getpid(), 0
        self._lock = FileLock(self.folder / ".lock")
        self._writer = ThreadPoolExecutor(1, "pages-write")  # finishes its work before the process exits
        self._readers = ThreadPoolExecutor(min(4, processors()), "pages-read")

    def _describe(self, about: Mapping[str, str | int]) -> None:
        """Describe the pages' identity in a file next to them, and warn of other versions of the same model's pages."""
        file = self._own / "about.json"
        with suppress(OSError):  # optional: read by people, and by the warning below
            if not file.exists():
                write_whole(file, json.dumps(about, indent=1) + "\n")
        for other in self.folder.glob("*/about.json"):
            with suppress(OSError, ValueError):
                found = json.loads(other.read_text("utf-8"))
                if other == file or not any(_PAGE.fullmatch(path.name) for path in other.parent.iterdir()):
                    continue
                same = [name for name in about if name not in VERSIONS]
                if isinstance(found, dict) and all(found.get(name) == about[name] for name in same):
                    versions = ", ".join(f"{name} {found.get(name)!s:.20}" for name in VERSIONS)
                    text = f"it has pages of this model from another version ({versions}), which are ignored"
                    self._log_once("version", text)

    def read(self, keys: Iterable[bytes]) -> Iterator[NDArray[np.uint8]]:
        """Yield the pages of successive keys, up to the first that is missing or damaged."""
        self._renew()
        keys = iter(keys)
        while window := list(islice(keys, _WINDOW)):
            there = []
            for key in window:
                if not self._path(key).exists():
                    break
                there.append(key)
            for data in self._readers.map(self._read, there):
                if data is None:
                    return
                self.counts.read += 1
                yield data
            if len(there) < _WINDOW:
                return

    def keep(self, pages: Sequence[tuple[bytes, int]], read: Callable[[int], NDArray[np.uint8]]) -> None:
        """Write a sequence's missing pages in the background, and mark all its pages as used now.

        Parameters
        ----------
        pages : sequence of (key, page number)
            Pages from the beginning of the sequence.
        read : callable
            Returns a copy of a page's bytes.
        """
        self._renew()
        batch: list[tuple[str, NDArray[np.uint8] | None]] = []
        for i, (key, page) in enumerate(pages):
            name = key.hex()
            if name in self._written:
                batch.append((name, None))
                continue
            if self._pending + self._page_bytes > PENDING_BYTES:
                self.counts.left_out += len(pages) - i
                break
            with self._counting:
                self._pending += self._page_bytes
            self._written.add(name)
            batch.append((name, read(page)))
        if batch:
            with suppress(RuntimeError):  # the process is exiting during another thread's step
                self._writer.submit(self._write, batch)

    def flush(self) -> None:
        """Wait until all pending pages are written."""
        self._writer.submit(lambda: None).result()

    def close(self) -> None:
        """Write pending pages and end the threads."""
        self._writer.shutdown()
        self._readers.shutdown()

    def _renew(self) -> None:
        if self._process != os.getpid():
            self._start()

    def _path(self, key: bytes) -> Path:
        return self._own / key.hex()

    def _read(self, key: bytes) -> NDArray[np.uint8] | None:
        """Return a page, or None if it is missing, unreadable or damaged."""
        path, data = self._path(key), np.empty(self._size, np.uint8)
        try:
            with path.open("rb", buffering=0) as file:
                whole = file.readinto(data.data) == self._size and not file.read(1)
        except FileNotFoundError:
            self._written.discard(path.name)  # another process has removed it
            return None
        except OSError as error:
            self._log_once("reading", f"it cannot be read ({error.strerror}); its pages are computed instead")
            return None
        head, page = data[:HEAD].tobytes(), data[HEAD:]
        if whole and head == page_head(key, page):
            return page
        with self._counting:
            self.counts.damaged += 1
        self._written.discard(path.name)
        with suppress(OSError):
            path.unlink()
        self._log_once("damage", f"page {path.name[:16]} is damaged; it is removed and recomputed")
        return None

    def _write(self, batch: Sequence[tuple[str, NDArray[np.uint8] | None]]) -> None:
        """Write pages and mark the whole batch as used, the first page last: a sequence is evicted from its end."""
        now = time.time_ns()
        try:
            for i, (name, data) in enumerate(batch):
                if data is None:
                    self._touch(self._own / name, now - i)
            fresh = [(now - i, name, data) for i, (name, data) in enumerate(batch) if data is not None]
            if fresh:
                with self._lock:
                    self._write_fresh(fresh, {name for name, _ in batch})
        except OSError as error:  # for example a full disk
            self._log_once("writing", f"it cannot be written ({error.strerror}); missing pages are recomputed")
            self._written = {name for name in self._written if (self._own / name).exists()}
            self.counts.left_out += sum(data is not None and name not in self._written for name, data in batch)
        finally:
            with self._counting:
                self._pending -= self._page_bytes * sum(data is not None for _, data in batch)

    def _write_fresh(self, fresh: list[tuple[int, str, NDArray[np.uint8]]], kept: set[str]) -> None:
        """Write missing pages; the caller must hold the lock."""
        self._own.mkdir(mode=0o700, exist_ok=True)
        fresh = [one for one in fresh if not (self._own / one[1]).exists()]
        room = self._make_room(len(fresh) * self._size, kept)
        for used, name, data in fresh[: room // self._size]:
            part = self._own / f"{name}.{secrets.token_hex(8)}.part"
            try:
                with part.open("xb") as file:
                    file.write(page_head(bytes.fromhex(name), data))
                    file.write(data.data)
                os.utime(part, ns=(used, used))
                part.replace(self._own / name)
            finally:
                part.unlink(missing_ok=True)
            self.counts.written += 1
        for _, name, _ in fresh[room // self._size :]:
            self.counts.left_out += 1
            self._written.discard(name)

    def _touch(self, path: Path, used: int) -> None:
        try:
            os.utime(path, ns=(used, used))
        except FileNotFoundError:  # removed by another process; written again at its next use
            self._written.discard(path.name)

    def _make_room(self, wanted: int, kept: set[str]) -> int:
        """Remove the least recently used pages of any model to fit `wanted` bytes; return the number of writable bytes.

        A file holds the total size of all files. If a process ends midway, the total is too high, never too low; in
        that case, and whenever space is short, the files are counted.
        """
        tally = self.folder / ".bytes"
        try:
            total = int(tally.read_text("ascii"))
        except (OSError, ValueError):
            total = self.limit
        if total + wanted > self.limit:
            files = sorted(self._files())
            total = sum(file.size for file in files)
            # remove a little more than needed, so that the files are not counted for every page
            target = self.limit - wanted - self.limit // 64 if total + wanted > self.limit else self.limit
            for file in files:
                if total <= target:
                    break
                if file.path.parent == self._own and file.path.name in kept:
                    continue
                file.path.unlink(missing_ok=True)
                self._written.discard(file.path.name)
                self.counts.removed += 1
                total -= file.size
        room = max(0, min(wanted, self.limit - total))
        tally.write_text(f"{total + room}\n", "ascii")
        return room

    def _files(self) -> Iterator[_File]:
        """Yield all pages of all models; delete temporary files of writers that were killed."""
        for folder in self.folder.iterdir():
            if not _MODEL.fullmatch(folder.name):
                continue
            with os.scandir(folder) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):
                        status = entry.stat(follow_symlinks=False)
                        path = Path(entry.path)
                        if _PAGE.fullmatch(entry.name):
                            yield _File(status.st_mtime_ns, path, status.st_size)
                        elif _PART.fullmatch(entry.name):
                            path.unlink()  # a live writer would hold the lock

    def _log_once(self, kind: str, text: str) -> None:
        """Log a warning about the folder, once per kind."""
        if kind not in self._logged:
            self._logged.add(kind)
            _LOG.warning("prefix cache %s: %s", self.folder, text)


def page_head(key: bytes, page: NDArray[np.uint8]) -> bytes:
    """Return the header of a page, in its file and over the network: magic bytes, key, and digest of key and page."""
    digest = hashlib.sha256(key)
    digest.update(page.data)
    return _MAGIC + key + digest.digest()
