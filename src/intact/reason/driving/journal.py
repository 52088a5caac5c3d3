"""Results on disk: a later run finds the results of earlier runs and does not recompute them."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from intact._base.errors import JournalError
from intact.reason.problem import State

_LOG = logging.getLogger("intact")
APPLICATION = 0x494E5443  # "INTC", in the file's header
VERSION = 1
SYNC = 2.0  # seconds of work that a power failure may lose; a killed process loses none
PATIENCE = 30.0  # seconds to wait for another process to release the file
CHECK = 8  # bytes of the digest of key and result that precedes each result
_SCHEMA = "CREATE TABLE entries (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID"


class JournalFolder(Protocol):
    """A store of journals, such as one on another machine."""

    def open_journal(self, name: str) -> Journal:
        """Open a journal by file name; create an empty one if it does not exist."""
        ...


class Journal:
    """Map digests of requests to results, in a file that stays intact if the process is killed at any time.

    A row without a value is a request that was in progress at the last commit. Not thread-safe.

    Parameters
    ----------
    path : path
        The file; created if it does not exist.

    Raises
    ------
    JournalError
        If the file is not a journal of this version, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begun: list[bytes] = []
        self._done: dict[bytes, bytes] = {}
        self._damaged: set[bytes] = set()
        self._synced = time.monotonic()
        self._syncing: threading.Thread | None = None
        with self._named():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, isolation_level=None, timeout=PATIENCE)
        try:
            with self._named():
                self._open()
        except BaseException:
            self._database.close()
            raise

    @staticmethod
    def inside(folder: Path | JournalFolder | None, name: str) -> Journal:
        """Open a named journal in a folder; without a folder, an in-memory one."""
        if folder is None or isinstance(folder, Path):
            return Journal(Path(":memory:") if folder is None else folder / name)
        return folder.open_journal(name)

    def _open(self) -> None:
        self._database.execute("BEGIN")  # a consistent view of a file that another process may be creating
        (application,) = self._database.execute("PRAGMA application_id").fetchone()
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        tables = [name for (name,) in self._database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        self._database.execute("COMMIT")
        if tables or application or version:
            if application != APPLICATION or tables != ["entries"]:
                raise JournalError(f"{self.path} is another kind of database; expected a journal, or no file")
            if version != VERSION:
                raise JournalError(
                    f"{self.path} is a journal of version {version}, but this program writes version {VERSION}"
                )
        self._log_ahead()
        self._database.execute(
            "PRAGMA synchronous = NORMAL"
        )  # survives a killed process; `_sync` is for power failures
        if not tables:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.execute(f"PRAGMA application_id = {APPLICATION}")
            self._database.execute(f"PRAGMA user_version = {VERSION}")
            self._database.execute(_SCHEMA.replace("TABLE", "TABLE IF NOT EXISTS"))
            self._database.execute("COMMIT")

    def _log_ahead(self) -> None:
        # If another process reads the file or changes its mode, SQLite fails at once instead of waiting.
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self._database.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
            time.sleep(0.01)

    def find(self, key: bytes) -> Any:
        """Return the result of a request as parsed JSON, or None if there is no entry.

        A damaged entry is ignored with a warning; the recomputed result replaces it.
        """
        data = self.find_stored(key)
        return None if data is None else self._value(key, data)

    def find_stored(self, key: bytes) -> Any:
        """Return the stored bytes of a request's entry, intact or damaged; None if there is no entry."""
        data = self._done.get(key)
        if data is None:
            with self._named():
                row = self._database.execute("SELECT value FROM entries WHERE key = ?", (key,)).fetchone()
            data = None if row is None else row[0]
        return data

    def items(self) -> Iterator[tuple[bytes, Any]]:
        """Iterate over the committed results in the order of their keys, skipping damaged ones."""
        with self._named():
            rows = self._database.execute("SELECT key, value FROM entries WHERE value IS NOT NULL ORDER BY key")
            for key, data in rows:
                if (value := self._value(key, data)) is not None:
                    yield key, value

    def _value(self, key: bytes, data: Any) -> Any:
        if not isinstance(data, bytes) or data[:CHECK] != _check(key, data[CHECK:]):
            if key not in self._damaged:
                self._damaged.add(key)
                _LOG.warning("%s: the entry %s is damaged; it is recomputed", self.path, key.hex())
            return None
        return json.loads(zlib.decompress(data[CHECK:]))

    def begin(self, key: bytes) -> None:
        """Record that a request has begun."""
        self._begun.append(key)

    def add(self, key: bytes, value: Any) -> None:
        """Add a result; it is durable after the next `commit`."""
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        data = zlib.compress(text.encode("utf-8", "surrogatepass"), 1)
        self._done[key] = _check(key, data) + data

    def add_stored(self, entries: Mapping[bytes, bytes]) -> None:
        """Add entries from another journal in their stored form (`find_stored`).

        Raises
        ------
        JournalError
            If an entry is damaged; in that case, no entry is added.
        """
        for key, data in entries.items():
            if data[:CHECK] != _check(key, data[CHECK:]):
                raise JournalError(f"{self.path}: the entry {key.hex()} was damaged when read")
        self._done.update(entries)

    def commit(self) -> None:
        """Make everything added so far durable.

        Raises
        ------
        JournalError
            If the disk is full or fails. Earlier commits are safe, and the pending entries are kept for the next
            attempt.
        """
        if not self._begun and not self._done:
            return
        with self._named():
            try:
                self._database.execute("BEGIN IMMEDIATE")
                self._database.executemany(
                    "INSERT OR IGNORE INTO entries VALUES (?, NULL)", [(key,) for key in self._begun]
                )
                self._database.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?)", self._done.items())
                self._database.execute("COMMIT")
            except sqlite3.Error:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise
        self._begun.clear()
        self._done.clear()
        if time.monotonic() - self._synced > SYNC and (self._syncing is None or not self._syncing.is_alive()):
            self._synced = time.monotonic()
            self._syncing = threading.Thread(target=self._sync, name="intact-journal", daemon=True)
            self._syncing.start()

    def _sync(self) -> None:
        """Flush the committed data to disk; this runs in its own thread because disks are slow."""
        with suppress(OSError), Path(f"{self.path}-wal").open("rb") as log:
            os.fsync(log.fileno())

    def close(self) -> None:
        """Commit and close the file."""
        try:
            self.commit()
        finally:
            if self._syncing is not None:
                self._syncing.join()
            with self._named():
                self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise JournalError(f"the journal {self.path} cannot be used: {error}") from error


def _check(key: bytes, data: bytes) -> bytes:
    return hashlib.sha256(key + data).digest()[:CHECK]


def key_of(*parts: Any) -> bytes:
    """Return the key of a request: the SHA-256 digest of its parts as JSON."""
    return hashlib.sha256(json.dumps(parts, separators=(",", ":"), ensure_ascii=True).encode()).digest()


def seen(state: State) -> list[Any]:
    """Return everything a scorer may read from a state except its place in the tree: text as well as tokens."""
    pieces = [
        [getattr(piece, one.name) for one in fields(piece) if one.name != "spread" or piece.spread]  # as in older keys
        for piece in state.pieces
    ]
    return [state.prompt, pieces, state.why]


def plain(state: State) -> list[Any]:
    """Return a state as JSON: the prompt, then each piece as its tokens, or as its text if it has no tokens."""
    pieces: list[Sequence[Any]] = [
        piece.tokens or (piece.text, piece.special, piece.model is None) for piece in state.pieces
    ]
    return [state.prompt, pieces]
