"""One journal for all machines, kept where the command runs; workers query it and add to it remotely."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from intact._base.errors import JournalError
from intact.reason.driving.journal import Journal


class JournalKeeper:
    """An actor that opens the journals of a folder, on the machine that has the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._open = folder, dict[str, Journal]()

    def _journal(self, name: str) -> Journal:
        if Path(name).name != name:
            raise JournalError(f"a journal's name must be a file name, got {name!r:.80}")
        if name not in self._open:
            self._open[name] = Journal(self._folder / name)
        return self._open[name]

    def find(self, name: str, key: bytes) -> bytes | None:
        """Return a journal's entry in its stored form."""
        data: bytes | None = self._journal(name).find_stored(key)
        return data

    def add(self, name: str, entries: dict[bytes, bytes]) -> None:
        """Add entries to a journal and commit; an entry that already exists is identical."""
        journal = self._journal(name)
        journal.add_stored(entries)
        journal.commit()

    def close(self) -> None:
        """Close all journals; they can be opened again."""
        while self._open:
            self._open.popitem()[1].close()


class RemoteJournals:
    """Access to the journals of a `JournalKeeper` from any worker.

    Parameters
    ----------
    keeper : actor handle
        The handle of a `JournalKeeper`.
    """

    def __init__(self, keeper: Any) -> None:
        self._keeper = keeper

    def open_journal(self, name: str) -> Journal:
        """Open a journal by its file name."""
        return RemoteJournal(self._keeper, name)


class RemoteJournal(Journal):
    """A journal whose entries are stored on another machine; entries found or added are also cached in memory.

    `commit` returns once an entry has been sent. If the worker dies before it arrives, the entry is lost and
    recomputed.
    """

    def __init__(self, keeper: Any, name: str) -> None:
        super().__init__(Path(":memory:"))
        self._keeper, self._name, self._sent = keeper, name, list[Any]()

    def find_stored(self, key: bytes) -> bytes | None:
        """Return an entry in its stored form, from the cache or from the keeper."""
        import ray

        data: bytes | None = super().find_stored(key)
        if data is None:
            data = ray.get(self._keeper.find.remote(self._name, key))
        return data

    def commit(self) -> None:
        """Send everything added so far.

        Raises
        ------
        JournalError
            If entries sent earlier could not be stored, for example because the disk is full.
        """
        import ray

        entries = dict(self._done)
        super().commit()
        if self._sent:
            arrived, self._sent = ray.wait(self._sent, num_returns=len(self._sent), timeout=0)
            self._check(arrived)
        if entries:
            self._sent.append(self._keeper.add.remote(self._name, entries))

    def close(self) -> None:
        """Commit, and wait until everything has arrived; raise as `commit` does."""
        try:
            self.commit()
            sent, self._sent = self._sent, []
            self._check(sent)
        finally:
            super().close()

    def _check(self, sent: list[Any]) -> None:
        import ray

        try:
            ray.get(sent)
        except ray.exceptions.RayTaskError as error:
            raise JournalError(f"the journal could not be written where the command runs: {error.cause}") from error
