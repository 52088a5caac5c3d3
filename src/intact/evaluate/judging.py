"""Verdicts on answers: each asked for once, several at a time, and kept in a journal."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from intact.evaluate.manifest import grader_digest
from intact.reason.journal import Journal, key_of
from intact.tasks.task import Item, Task

THREADS = 2
FILE = "verdicts.sqlite"


class Judge:
    """Judges answers. Programs and algebra take their time, so that threads ask them while the engine goes on.

    Parameters
    ----------
    folder : path, optional
        Where verdicts are kept, and found. One that is undecided (None, as `Task.grade` has it) is never kept, so that
        the next run asks for it again.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._journal = None if folder is None else Journal(folder / FILE)
        self._pool = ThreadPoolExecutor(THREADS, "intact-judge")
        self._digests: dict[Task, str] = {}
        self._known: dict[bytes, Future[Any]] = {}
        self._open: dict[bytes, Future[Any]] = {}

    def ask(self, task: Task, item: Item, answer: str | None) -> Future[bool | None]:
        """Begin to judge an answer."""
        if answer is None:
            return ready(False)
        grader = (
            self._digests.setdefault(task, grader_digest(task)) if task not in self._digests else self._digests[task]
        )
        key = key_of("verdict", grader, [item.id, item.question, item.answer, item.data, item.secret], answer)
        if key not in self._known:
            verdict = None if self._journal is None else self._journal.find(key)
            if verdict is None:
                self._known[key] = self._open[key] = self._pool.submit(task.grade, item, answer)
            else:
                self._known[key] = ready(verdict)
        return self._known[key]

    def keep(self) -> None:
        """Make the verdicts durable that there are."""
        done = [key for key, future in self._open.items() if future.done()]
        for key in done:
            future = self._open.pop(key)
            if self._journal is not None and future.exception() is None and future.result() is not None:
                self._journal.add(key, future.result())
        if self._journal is not None:
            self._journal.commit()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._journal is not None:
            self._open = {key: future for key, future in self._open.items() if not future.cancelled()}
            self.keep()
            self._journal.close()


def ready(verdict: bool | None) -> Future[bool | None]:
    """Return a verdict that is there already; None for one that is undecided."""
    future: Future[bool | None] = Future()
    future.set_result(verdict)
    return future
