"""Problems in receipts: names for the functions that read answers, and restoring problems from receipts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

from intact._base.errors import ParameterError
from intact.reason.problem import Problem
from intact.solving.receipts.header import RunHeader
from intact.tasks.score.answers import READERS
from intact.tasks.task import Item, Task, all_tasks

TASK: Final = "task:"
"""Name prefix for this package's tasks, which read their own answers."""


class NotingData(Mapping[str, Any]):
    """A problem's data that records which of its members were read."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)
        self._read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        value = self._values[name]
        self._read.add(name)
        return value

    def __iter__(self) -> Iterator[str]:
        self._read.update(self._values)
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def read(self) -> dict[str, Any]:
        """The members that were read."""
        return {name: value for name, value in self._values.items() if name in self._read}

    @property
    def unread(self) -> list[str]:
        """The names of the members that were not read."""
        return sorted(self._values.keys() - self._read)


def reader_of(problem: Problem) -> str:
    """Return the name of the function that reads a problem's answers.

    Raises
    ------
    ParameterError
        If the function has no name, so a verifier could not read the answers.
    """
    for name, read in READERS.items():
        if problem.read is read:
            return name
    task = getattr(problem.read.func, "__self__", None) if isinstance(problem.read, partial) else None
    if isinstance(task, Task) and type(all_tasks().get(task.name)) is type(task):
        return TASK + task.name
    raise ParameterError(
        "a run with a receipt needs a question as a string, or an item of a task of this package: a verifier must know "
        "how its answers are read"
    )


def replayable(problem: Problem) -> Problem:
    """Return a problem in the form that its receipt restores: its data is a `NotingData`, which its reader also uses.

    Raises
    ------
    ParameterError
        If the function that reads the problem's answers has no name.
    """
    data = NotingData(problem.data)
    return replace(problem, read=_read(reader_of(problem), problem.id, data), data=data)


def problem_of(header: RunHeader, data: NotingData) -> Problem:
    """Return the problem of a receipt; `data` is the data in its header.

    Raises
    ------
    ParameterError
        If the reader does not exist.
    """
    return Problem(header.id, header.prompt, _read(header.reader, header.id, data), data, seed=header.seed)


def _read(reader: str, id: str, data: Mapping[str, Any]) -> Callable[[str], str | None]:  # noqa: A002
    read = READERS.get(reader)
    if read is not None:
        return read
    task = all_tasks().get(reader.removeprefix(TASK))
    if task is None or not reader.startswith(TASK):
        raise ParameterError(f"no reader of answers named {reader!r:.80}")
    return partial(task.read_for, Item(id, "", "", data))
