"""What every task is: problems as data, a way to ask them, a way to read answers, and a judge."""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from intact.errors import FormatError, ParameterError
from intact.reason.problem import Problem
from intact.reason.state import Prompt
from intact.tasks.data import Row, data_folder, read_rows

Style = Literal["chat", "base"]


@dataclass(frozen=True)
class Item:
    """A problem with its answer.

    Attributes
    ----------
    id : str
        Its name for good, such as ``gsm8k/test/17``; draws depend on it.
    question : str
        What is asked.
    answer : str
        The right answer, as the data have it.
    data : mapping
        What a method may know besides, such as public tests. Never the answer.
    secret : mapping
        What only the judge may know, such as hidden tests.
    """

    id: str
    question: str
    answer: str
    data: Mapping[str, Any] = field(default_factory=dict)
    secret: Mapping[str, Any] = field(default_factory=dict)


class Task(ABC):
    """A set of problems.

    Attributes
    ----------
    name : str
        What the command line calls it.
    line : str
        What it is, in a line.
    source, licence : str
        Where the data come from, and under which licence.
    files : mapping
        The file of each split, in the folder of the data; the first split is the usual one.
    instruction : str
        What a chat model is told besides the question.
    shots : tuple
        Questions with model answers, for models that only continue texts. Ours, never from the data.
    stops : tuple of str
        What ends an answer of such a model.
    """

    name: ClassVar[str]
    line: ClassVar[str]
    source: ClassVar[str]
    licence: ClassVar[str]
    files: ClassVar[Mapping[str, str]]
    instruction: ClassVar[str] = ""
    shots: ClassVar[tuple[tuple[str, str], ...]] = ()
    stops: ClassVar[tuple[str, ...]] = ("\nQuestion:", "\n\n\n")

    @abstractmethod
    def parse(self, row: Row, index: int) -> Item:
        """Make an item of a row; its id is the row's own, or the index."""

    @abstractmethod
    def read(self, text: str) -> str | None:
        """Return the canonical answer in a text, or None; texts with the same answer give the same."""

    @abstractmethod
    def correct(self, item: Item, answer: str | None) -> bool:
        """Return whether an answer, as `read` gives it, is right. None never is."""

    def rows(self, split: str, rows: list[Row]) -> list[tuple[int, Row]]:
        """Choose the rows of a split, with their places in the file."""
        return list(enumerate(rows))

    def load(self, split: str | None = None, limit: int | None = None, folder: Path | None = None) -> list[Item]:
        """Return the first items of a split.

        Parameters
        ----------
        split
            By default the usual one.
        limit
            The most items; all without it.
        folder
            Where the data lie; by default `data_folder`. A file is taken as it is.

        Raises
        ------
        ParameterError
            If there is no such split, or its file is absent.
        FormatError
            If the file is damaged, or no such data.
        """
        split = split or next(iter(self.files))
        if split not in self.files:
            raise ParameterError(f"{self.name} has no split {split!r}; it has {', '.join(self.files)}")
        if limit is not None and limit < 1:
            raise ParameterError(f"limit must be at least 1, got {limit}")
        path = folder or data_folder()
        path = path if path.is_file() else path / self.files[split]
        items = []
        for index, row in self.rows(split, read_rows(path))[:limit]:
            try:
                item = self.parse(row, index)
            except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
                raise FormatError(f"{path}: item {index} is no problem of {self.name} ({error!r})") from error
            items.append(Item(f"{self.name}/{split}/{item.id}", item.question, item.answer, item.data, item.secret))
        return items

    def chat(self, item: Item) -> Prompt:
        """Ask a chat model, without examples."""
        question = f"{item.question}\n\n{self.instruction}" if self.instruction else item.question
        return (("user", question),)

    def base(self, item: Item, shots: int | None = None) -> Prompt:
        """Ask a model that continues texts, behind a few examples."""
        examples = "".join(f"Question: {question}\nAnswer: {answer}\n\n" for question, answer in self.shots[:shots])
        return f"{examples}Question: {item.question}\nAnswer:"

    def read_for(self, item: Item, text: str) -> str | None:
        """Return the canonical answer in a text to this very item."""
        return self.read(text)

    def problem(self, item: Item, style: Style = "chat", seed: int = 0) -> Problem:
        """Return an item as methods see it: without its answer."""
        prompt = self.chat(item) if style == "chat" else self.base(item)
        return Problem(item.id, prompt, partial(self.read_for, item), {"question": item.question, **item.data}, seed)


def all_tasks() -> dict[str, Task]:
    """Return all tasks by name, sorted: whatever the modules of this package define."""
    package = importlib.import_module("intact.tasks")
    found: dict[str, Task] = {}
    for module in pkgutil.iter_modules(package.__path__):
        for value in vars(importlib.import_module(f"{package.__name__}.{module.name}")).values():
            # classes without a name of their own are shared parts
            if isinstance(value, type) and issubclass(value, Task) and "name" in vars(value):
                found[value.name] = value()
    return dict(sorted(found.items()))


def find_task(name: str) -> Task:
    """Return the task of this name.

    Raises
    ------
    ParameterError
        If there is none, naming what there is.
    """
    known = all_tasks()
    if name not in known:
        raise ParameterError(f"there is no task {name!r}; there are {', '.join(known)}")
    return known[name]
