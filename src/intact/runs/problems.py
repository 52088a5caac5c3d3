"""Problems as receipts hold them: by which name answers are read, and a problem made of that again."""

from __future__ import annotations

from functools import partial
from typing import Final

from intact.errors import ParameterError
from intact.reason.problem import Problem
from intact.runs.header import RunHeader
from intact.score.answers import READERS
from intact.tasks.task import Item, Task, all_tasks

TASK: Final = "task:"
"""Before the name of a task of this package, which reads its own answers."""
QUESTION: Final = "question"


def reader_of(problem: Problem) -> str:
    """The name by which a problem's answers are read.

    Raises
    ------
    ParameterError
        If it has none, so that no verifier could read them.
    """
    for name, read in READERS.items():
        if problem.read is read:
            return name
    task = getattr(problem.read.func, "__self__", None) if isinstance(problem.read, partial) else None
    if isinstance(task, Task) and type(all_tasks().get(task.name)) is type(task):
        return TASK + task.name
    raise ParameterError(
        "a run with a receipt needs a question as a text, or an item of a task of this package: a verifier must know "
        "how its answers are read"
    )


def problem_of(header: RunHeader) -> Problem:
    """The problem of a receipt.

    Raises
    ------
    ParameterError
        If there is no such way to read answers.
    """
    read = READERS.get(header.reader)
    if read is None:
        task = all_tasks().get(header.reader.removeprefix(TASK))
        if task is None or not header.reader.startswith(TASK):
            raise ParameterError(f"there is no way {header.reader!r:.80} to read answers")
        data = {name: value for name, value in header.data.items() if name != QUESTION}
        read = partial(task.read_for, Item(header.id, str(header.data.get(QUESTION, "")), "", data))
    return Problem(header.id, header.prompt, read, header.data, header.seed)
