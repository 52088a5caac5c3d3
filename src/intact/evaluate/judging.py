"""Verdicts on answers: each computed once, in threads, and stored in a journal."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from intact.evaluate.manifest import grader_digest
from intact.reason.driving.journal import Journal, JournalFolder, key_of
from intact.tasks.task import Item, Task

THREADS = 2
FILE = "verdicts.sqlite"


class Judge:
    """A judge of answers that works in threads while the engine continues, since programs and algebra take a long time.

    Parameters
    ----------
    folder : path, optional
        The folder of the verdict journal. Undecided verdicts (None, from `Task.grade`) are not stored, so the next run
        retries them.
    """

    def __init__(self, folder: Path | JournalFolder | None = None) -> None:
        self._journal = Journal.inside(folder, FILE)
        self._pool = ThreadPoolExecutor(THREADS, "intact-judge")
        self._digests: dict[Task, str] = {}
        self._known: dict[bytes, Future[Any]] = {}
        self._open: dict[bytes, Future[Any]] = {}

    def ask(self, task: Task, item: Item, answer: str | None) -> Future[bool | None]:
        """Start judging an answer."""
        if answer is None:
            return ready(False)
        if task not in self._digests:
            self._digests[task] = grader_digest(task)
        key = key_of(
            "verdict", self._digests[task], [item.id, item.question, item.answer, item.data, item.secret], answer
        )
        if key not in self._known:
            verdict = self._journal.find(key)
            if verdict is None:
                self._known[key] = self._open[key] = self._pool.submit(task.grade, item, answer)
            else:
                self._known[key] = ready(verdict)
        return self._known[key]

    def keep(self) -> None:
        """Commit the verdicts computed so far to the journal."""
        done = [key for key, future in self._open.items() if future.done()]
        for key in done:
            future = self._open.pop(key)
            if future.exception() is None and future.result() is not None:
                self._journal.add(key, future.result())
        self._journal.commit()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._open = {key: future for key, future in self._open.items() if not future.cancelled()}
        self.keep()
        self._journal.close()


def ready(verdict: bool | None) -> Future[bool | None]:
    """Return a completed future with this verdict; None means undecided."""
    future: Future[bool | None] = Future()
    future.set_result(verdict)
    return future
