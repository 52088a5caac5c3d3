"""One journal for all machines: it lies where the command runs; workers look it up, and add to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from intact._base.errors import JournalError
from intact.reason.driving.journal import Journal


class JournalKeeper:
    """An actor that holds the journals of a folder, on the machine where the folder is."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._open = folder, dict[str, Journal]()

    def _journal(self, name: str) -> Journal:
        if Path(name).name != name:
            raise JournalError(f"a journal's name must be a file's, got {name!r:.80}")
        if name not in self._open:
            self._open[name] = Journal(self._folder / name)
        return self._open[name]

    def find(self, name: str, key: bytes) -> bytes | None:
        """Return a journal's entry as it is stored."""
        data: bytes | None = self._journal(name).find_stored(key)
        return data

    def add(self, name: str, entries: dict[bytes, bytes]) -> None:
        """Add entries to a journal, and commit; one that is there already is the same."""
        journal = self._journal(name)
        journal.add_stored(entries)
        journal.commit()

    def close(self) -> None:
        """Close all journals, which can be opened again."""
        while self._open:
            self._open.popitem()[1].close()


class RemoteJournals:
    """The journals of a `JournalKeeper`, for a worker anywhere.

    Parameters
    ----------
    keeper : actor handle
        Of a `JournalKeeper`.
    """

    def __init__(self, keeper: Any) -> None:
        self._keeper = keeper

    def open_journal(self, name: str) -> Journal:
        """Open a journal by its file's name."""
        return RemoteJournal(self._keeper, name)


class RemoteJournal(Journal):
    """A journal whose entries are kept elsewhere; what it has found or added is also here, in memory.

    An entry is on its way when `commit` returns; whoever dies before it has arrived loses it, and it is made again.
    """

    def __init__(self, keeper: Any, name: str) -> None:
        super().__init__(Path(":memory:"))
        self._keeper, self._name, self._sent = keeper, name, list[Any]()

    def find_stored(self, key: bytes) -> bytes | None:
        """Return an entry as it is stored, here or there."""
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
            If what was sent before could not be kept, as on a full disk.
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
        """Commit, and wait until all has arrived; errors as of `commit`."""
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
            raise JournalError(f"the journal could not be kept where the command runs: {error.cause}") from error
