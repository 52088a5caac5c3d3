"""The task interface: problems as data, prompts, answer reading, and a judge."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from intact._base.errors import FormatError, IntactError, ParameterError, UndecidedError
from intact._base.plugins import Registry
from intact._base.suggest import unknown_name
from intact.checkpoints.download.github import GitHubFile
from intact.reason.problem import Problem, Prompt
from intact.tasks.data import SAMPLE_SIZE, SAMPLES, Row, data_folder, find_file, read_rows
from intact.tasks.score.judging import noting

Style = Literal["chat", "base"]
_LOG = logging.getLogger("intact")


@dataclass(frozen=True)
class Item:
    """A problem with its answer.

    Attributes
    ----------
    id : str
        A permanent name, such as ``gsm8k/test/17``; random draws depend on it.
    question : str
        The text of the question.
    answer : str
        The right answer, as given in the data.
    data : mapping
        Data that methods may use, such as public tests. Never the answer.
    secret : mapping
        Data for the judge only, such as hidden tests.
    cluster : str
        The name of something shared with other items, such as a passage; empty if nothing is shared. Confidence
        intervals treat the items of a cluster together.
    """

    id: str
    question: str
    answer: str
    data: Mapping[str, Any] = field(default_factory=dict)
    secret: Mapping[str, Any] = field(default_factory=dict)
    cluster: str = ""


class Task(ABC):
    """A set of problems with its prompts and its judge.

    Attributes
    ----------
    name : str
        Its name on the command line.
    line : str
        A one-line description.
    source, licence : str
        Source and licence of the data.
    files : mapping
        The file of each split in the data folder; the first split is the default.
    upstream : mapping
        The published file of each split, for ``intact tasks NAME --fetch``.
    instruction : str
        Text after the question for chat models.
    shots : tuple
        Questions with worked answers, as examples for base models. They never come from the data.
    stops : tuple of str
        Stop strings for base models.
    measures : mapping
        Metrics of a completion other than accuracy (`measure`), each with a one-line description.
    extra : str
        The optional dependency group of this package that the task needs, such as ``reasoning-gym``.
    graded : bool
        If false, answers cannot be judged here.
    called : str
        The string that selects the task on the command line, if it is not its name.
    version : int
        Increment it when the task reads, judges or generates differently (`intact.solving.receipts.versions`).
    uses : tuple of str
        Shared parts with their own versions that the task uses, such as ``reader number``.
    libraries : tuple of str
        Libraries that affect what it generates or how it judges.
    left_out : mapping
        The number of problems that the last `load` left out, by reason.
    """

    name: ClassVar[str]
    line: ClassVar[str]
    source: ClassVar[str]
    licence: ClassVar[str]
    files: ClassVar[Mapping[str, str]]
    upstream: ClassVar[Mapping[str, GitHubFile]] = {}
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
    left_out: Mapping[str, int] = {}

    @abstractmethod
    def parse(self, row: Row, index: int) -> Item:
        """Make an item from a row; its id is the row's own, or else the index."""

    @abstractmethod
    def read(self, text: str) -> str | None:
        """Return the canonical answer in a completion, or None; equivalent answers must give the same string."""

    def correct(self, item: Item, answer: str | None) -> bool:
        """Return true if an answer as returned by `read` is right; by default, if it equals the item's answer.

        None is never right.

        Raises
        ------
        UndecidedError
            If a time or memory limit stopped the judge.
        """
        return answer == item.answer

    def grade(self, item: Item, answer: str | None) -> bool | None:
        """Return true if an answer is right, or None if the verdict is undecided.

        Graders call this method, not `correct`.

        A verdict is undecided if a time or memory limit of this machine stopped the judge first: a faster machine, or
        the same one on another day, may reach a verdict. `correct` reports this by raising `UndecidedError`, or by
        returning False after a worker reached a limit (`intact.tasks.score.judging.note`). The caller counts None as
        neither right nor wrong and stores no verdict, so a later run retries it.
        """
        with noting() as abandoned:
            try:
                correct = self.correct(item, answer)
            except UndecidedError as error:
                abandoned, correct = [*abandoned, str(error)], False
        if abandoned and not correct:
            _LOG.warning("%s: the verdict on %.80r is undecided: %.200s", item.id, answer, abandoned[0])
            return None
        return correct

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings that its judge depends on in addition to its code, as JSON values."""
        return {}

    def measure(self, item: Item, text: str) -> dict[str, float]:
        """Return the values of `measures` for a completion."""
        return {}

    def rows(self, split: str, rows: list[Row]) -> list[tuple[int, Row]]:
        """Select the rows of a split, with their indices in the file."""
        return list(enumerate(rows))

    def source_of(self, split: str, folder: Path | None) -> tuple[str, Iterable[tuple[int, Row]]]:
        """Return the file name of a split, and its rows with their indices."""
        given = folder or data_folder()
        path = given if given.is_file() else find_file(self.files[split], folder)
        if path is None:
            sample = f", or take {self.name}:sample={SAMPLE_SIZE}" if self.has_sample(split) else ""
            raise ParameterError(
                f"{given / self.files[split]} does not exist: {self.origin(split)}, or name the folder of the "
                f"data with INTACT_DATA{sample}"
            )
        return str(path), self.rows(split, read_rows(path))

    def origin(self, split: str) -> str:
        """Return a hint for messages on how to get the file of a split."""
        if (file := self.upstream.get(split)) is None:
            return f"get it from {self.source} and put it there"
        return f"`intact tasks {self.name} --fetch` fetches it from {file.repo} ({file.bytes / 1e6:.2f} MB)"

    @classmethod
    def has_sample(cls, split: str) -> bool:
        """Return true if the package ships a sample of a split."""
        return bool(cls.files[split]) and not cls.called and find_file(cls.files[split], SAMPLES) is not None

    def load(self, split: str | None = None, limit: int | None = None, folder: Path | None = None) -> list[Item]:
        """Return the first items of a split.

        Parameters
        ----------
        split
            The split; by default the first one.
        limit
            Maximum number of items; by default all.
        folder
            The data folder; by default `data_folder`, then the folder of fetched files. It may also be a file.

        Raises
        ------
        ParameterError
            If there is no such split, or its file is missing.
        FormatError
            If the file is damaged, empty or of a different kind, or has two items with the same id or an answer that
            the judge cannot read.
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
                why = error if type(error) is ValueError else repr(error)
                raise FormatError(f"{where}: item {index} is not a valid {self.name} problem: {why}") from error
            name = f"{self.name}/{split}/{item.id}"
            if name in items:
                raise FormatError(f"{where}: item {index} repeats the identifier {item.id!r} of an earlier item")
            if not self.can_judge(item):
                raise FormatError(
                    f"{where}: item {index} ({item.id}): the grader cannot read its answer {item.answer!r:.80}"
                )
            items[name] = replace(item, id=name)
        if not items:
            raise FormatError(f"{where} contains no {self.name} problems")
        return list(items.values())

    def can_judge(self, item: Item) -> bool:
        """Return true if `correct` can compare answers with the right answer."""
        return bool(item.answer)

    def chat(self, item: Item) -> Prompt:
        """Return the prompt for a chat model, without examples."""
        question = f"{item.question}\n\n{self.instruction}" if self.instruction else item.question
        return (("user", question),)

    def base(self, item: Item, shots: int | None = None) -> Prompt:
        """Return the prompt for a base model, preceded by a few examples."""
        examples = "".join(f"Question: {question}\nAnswer: {answer}\n\n" for question, answer in self.shots[:shots])
        return f"{examples}Question: {item.question}\nAnswer:"

    def read_for(self, item: Item, text: str) -> str | None:
        """Return the canonical answer to this item in a completion, using only `data` of the item.

        A receipt contains no other part of an item, and only those data that were used.
        """
        return self.read(text)

    def read_stated(self, item: Item, text: str) -> str | None:
        """Return the canonical answer that a completion explicitly states, or None; used on request if it is truncated.

        Raises
        ------
        ParameterError
            If the task cannot tell stated answers from others.
        """
        raise ParameterError(
            f"{self.name} cannot distinguish stated answers from others, so it does not support cut=stated"
        )

    def problem(self, item: Item, style: Style = "chat", seed: int = 0, shots: int | None = None) -> Problem:
        """Return an item in the form that methods see: without its answer.

        Parameters
        ----------
        shots
            Number of examples before the question: by default none for a chat model and all for a base model.
        """
        prompt: Prompt
        if style == "chat":
            instruction = f"\n\n{self.instruction}" if self.instruction else ""
            examples = [
                (("user", question + instruction), ("assistant", text)) for question, text in self.shots[: shots or 0]
            ]
            prompt = (*(turn for pair in examples for turn in pair), *self.chat(item))
        else:
            prompt = self.base(item, shots)
        return Problem(
            item.id, prompt, partial(self.read_for, item), {"question": item.question, **item.data}, seed=seed
        )


def _name_of(value: Any) -> str | None:
    """Return the name of a task class.

    Return None for classes without their own name, which are shared bases of tasks.
    """
    return vars(value).get("name") if isinstance(value, type) and issubclass(value, Task) else None


TASKS: Final[Registry[type[Task]]] = Registry("intact.tasks", "intact.tasks", _name_of)
"""Task classes by name: those in this package, and those from other packages' entry points."""


def all_tasks() -> dict[str, Task]:
    """Return all loadable tasks by name, sorted."""
    return {name: kind() for name, kind in TASKS.working().items()}


def find_task(name: str) -> Task:
    """Return the task with this name.

    Raises
    ------
    ParameterError
        If there is no such task; the message lists those that exist.
    PluginError
        If another package provides it and cannot be loaded.
    """
    if name not in TASKS:
        raise ParameterError(
            unknown_name(f"no task named {name!r:.200}", name, TASKS, also=", and FILE.toml for your own")
        )
    return TASKS[name]()
