"""What every task is: problems as data, a way to ask them, a way to read answers, and a judge."""

from __future__ import annotations

import importlib
import logging
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal

from intact.errors import FormatError, IntactError, ParameterError, UndecidedError
from intact.reason.problem import Problem, Prompt
from intact.score.child import noting
from intact.tasks.data import Row, data_folder, read_rows

Style = Literal["chat", "base"]
_LOG = logging.getLogger("intact")


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
    measures : mapping
        What is measured of an answer besides its being right, and what that means, in a line each (`measure`).
    extra : str
        The extra of this package that has to be installed for it, such as ``reasoning-gym``.
    graded : bool
        Whether anything here can judge its answers.
    called : str
        What finds it, where that is not its name.
    version : int
        Raised when it reads, judges or makes something else than before (`intact.run_receipts.versions`).
    uses : tuple of str
        Shared parts that it uses and that have a version of their own, such as ``reader number``.
    libraries : tuple of str
        Outside libraries that decide what it makes or judges.
    """

    name: ClassVar[str]
    line: ClassVar[str]
    source: ClassVar[str]
    licence: ClassVar[str]
    files: ClassVar[Mapping[str, str]]
    instruction: ClassVar[str] = ""
    shots: ClassVar[tuple[tuple[str, str], ...]] = ()
    stops: ClassVar[tuple[str, ...]] = ("\nQuestion:", "\n\n\n")
    measures: ClassVar[Mapping[str, str]] = {}
    extra: ClassVar[str] = ""
    graded: ClassVar[bool] = True
    called: ClassVar[str] = ""
    version: ClassVar[int] = 1
    uses: ClassVar[tuple[str, ...]] = ()
    libraries: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def parse(self, row: Row, index: int) -> Item:
        """Make an item of a row; its id is the row's own, or the index."""

    @abstractmethod
    def read(self, text: str) -> str | None:
        """Return the canonical answer in a text, or None; texts with the same answer give the same."""

    @abstractmethod
    def correct(self, item: Item, answer: str | None) -> bool:
        """Return whether an answer, as `read` gives it, is right. None never is.

        Raises
        ------
        UndecidedError
            If a safety net on time or memory ended the judging.
        """

    def grade(self, item: Item, answer: str | None) -> bool | None:
        """Return whether an answer is right, or None where that is undecided. Whoever grades calls this, not `correct`.

        A verdict is undecided where a safety net on this machine's time or memory ended the judging before there was
        one: a faster machine, or this one on another day, may find it. `correct` says so by raising `UndecidedError`,
        or by returning False after something was given up (`intact.score.child.note`) on the way. The caller counts
        None neither as right nor as wrong, and stores no verdict, so that a later run tries again.
        """
        with noting() as given_up:
            try:
                correct = self.correct(item, answer)
            except UndecidedError as error:
                given_up, correct = [*given_up, str(error)], False
        if given_up and not correct:
            _LOG.warning("%s: the verdict on %.80r is undecided: %.200s", item.id, answer, given_up[0])
            return None
        return correct

    @property
    def settings(self) -> Mapping[str, Any]:
        """Return what its judge depends on besides its code, as JSON has it."""
        return {}

    def measure(self, item: Item, text: str) -> dict[str, float]:
        """Return what `measures` names, of a text that answers."""
        return {}

    def rows(self, split: str, rows: list[Row]) -> list[tuple[int, Row]]:
        """Choose the rows of a split, with their places in the file."""
        return list(enumerate(rows))

    def source_of(self, split: str, folder: Path | None) -> tuple[str, Iterable[tuple[int, Row]]]:
        """Return what the rows of a split come from, by name, and the rows with their numbers."""
        path = folder or data_folder()
        path = path if path.is_file() else path / self.files[split]
        if not path.is_file():
            there = f"get it from {self.source} and put it there"
            raise ParameterError(f"{path} is absent: {there}, or name the folder of the data with INTACT_DATA")
        return str(path), self.rows(split, read_rows(path))

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
            If the file is damaged, holds nothing or no such data, two items of one name, or an answer that the judge
            cannot read.
        """
        split = split or next(iter(self.files))
        if split not in self.files:
            raise ParameterError(f"{self.name} has no split {split!r}; it has {', '.join(self.files)}")
        if limit is not None and limit < 1:
            raise ParameterError(f"limit must be at least 1, got {limit}")
        where, rows = self.source_of(split, folder)
        items: dict[str, Item] = {}
        for index, row in islice(rows, limit):
            try:
                item = self.parse(row, index)
            except IntactError:
                raise
            except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
                raise FormatError(f"{where}: item {index} is no problem of {self.name} ({error!r})") from error
            name = f"{self.name}/{split}/{item.id}"
            if name in items:
                raise FormatError(f"{where}: item {index} has the identifier {item.id!r} of an earlier one")
            if not self.can_judge(item):
                raise FormatError(
                    f"{where}: item {index} ({item.id}): the judge cannot read its answer {item.answer!r:.80}"
                )
            items[name] = replace(item, id=name)
        if not items:
            raise FormatError(f"{where} holds no problem of {self.name}")
        return list(items.values())

    def can_judge(self, item: Item) -> bool:
        """Return whether the right answer is one that `correct` can compare with."""
        return bool(item.answer)

    def chat(self, item: Item) -> Prompt:
        """Ask a chat model, without examples."""
        question = f"{item.question}\n\n{self.instruction}" if self.instruction else item.question
        return (("user", question),)

    def base(self, item: Item, shots: int | None = None) -> Prompt:
        """Ask a model that continues texts, behind a few examples."""
        examples = "".join(f"Question: {question}\nAnswer: {answer}\n\n" for question, answer in self.shots[:shots])
        return f"{examples}Question: {item.question}\nAnswer:"

    def read_for(self, item: Item, text: str) -> str | None:
        """Return the canonical answer in a text to this very item, of which it may look at `data` alone.

        A receipt holds no more of an item, and of its data only what was looked at.
        """
        return self.read(text)

    def problem(self, item: Item, style: Style = "chat", seed: int = 0, shots: int | None = None) -> Problem:
        """Return an item as methods see it: without its answer.

        Parameters
        ----------
        shots
            Examples before the question: by default none for a chat model, all for one that continues texts.
        """
        prompt: Prompt
        if style == "chat":
            instruction = f"\n\n{self.instruction}" if self.instruction else ""
            told = [
                (("user", question + instruction), ("assistant", text)) for question, text in self.shots[: shots or 0]
            ]
            prompt = (*(turn for pair in told for turn in pair), *self.chat(item))
        else:
            prompt = self.base(item, shots)
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
