"""The plan of an evaluation: everything that a result depends on, other than the model, as a value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from intact._base.errors import ParameterError
from intact.reason.budget import Budget
from intact.reason.parts.prompting import with_system
from intact.reason.problem import Problem
from intact.reason.registry import Method, find
from intact.tasks.choose import Chosen
from intact.tasks.likelihood import LikelihoodTask
from intact.tasks.score.available import check_data, check_method, check_parts
from intact.tasks.task import Item, Style

METHOD = "chain_of_thought"


class Unit(NamedTuple):
    """A unit of work: an item of a task under a seed, given by their indices; units sort as in a result file."""

    task: int
    seed: int
    item: int


@dataclass(frozen=True)
class Plan:
    """Tasks, a method, and its sampling parameters.

    Attributes
    ----------
    items : tuple of tuple of Item
        The items of each task.
    method : Method
        The method; tasks judged by likelihood do not use it.
    parameters, sampling : mapping
        The method's parameters, and the given sampling parameters (`max_tokens`, `temperature`, ...).
    seeds : tuple of int
        Every item is run under each seed.
    budget : Budget
        The budget per problem.
    limit : int or None
        Maximum number of items per task; None for all.
    source : str
        The method's name, or ``FILE.py:NAME``.
    others : mapping of str to str
        Names or paths of the models other than the first, by the names that the method uses for them.
    system : str or None
        The system message before each question.
    """

    tasks: tuple[Chosen, ...]
    items: tuple[tuple[Item, ...], ...]
    method: Method
    parameters: Mapping[str, Any] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    budget: Budget = field(default_factory=Budget)
    limit: int | None = None
    source: str = ""
    others: Mapping[str, str] = field(default_factory=dict)
    system: str | None = None

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ParameterError("tasks is empty: give a list such as [choose('gsm8k')]")
        labels = [chosen.label for chosen in self.tasks]
        for label in labels:
            if labels.count(label) > 1:
                raise ParameterError(f"the task {label} is given twice")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ParameterError(f"seeds must be distinct, got {', '.join(map(str, self.seeds))}")
        if self.budget.seconds is not None:
            raise ParameterError(
                "a cap in seconds makes scores depend on the machine; cap tokens or operations instead"
            )
        for chosen in self.tasks:
            if not chosen.task.graded:
                raise ParameterError(f"{chosen.task.name} is a list of statements, and its answers cannot be graded")

    def units(self) -> Iterator[Unit]:
        """Yield all units, in the order of the result file."""
        for task, items in enumerate(self.items):
            for seed in range(1 if isinstance(self.tasks[task].task, LikelihoodTask) else len(self.seeds)):
                for item in range(len(items)):
                    yield Unit(task, seed, item)

    def item(self, unit: Unit) -> Item:
        """Return the item of a unit."""
        return self.items[unit.task][unit.item]

    def style(self, task: int, converses: bool) -> Style:
        """Return a task's prompt style, which depends on whether the model accepts conversations."""
        if isinstance(self.tasks[task].task, LikelihoodTask):
            return "base"
        return self.tasks[task].style or ("chat" if converses else "base")

    def problem(self, unit: Unit, converses: bool) -> Problem:
        """Return a unit as a problem for methods."""
        return self.problem_of(unit.task, self.item(unit), converses, self.seeds[unit.seed])

    def problem_of(self, task: int, item: Item, converses: bool, seed: int = 0) -> Problem:
        """Return an item of a task as a problem.

        Problems of likelihood tasks consist of the question only, so they cannot have a system message.

        Raises
        ------
        ParameterError
            If a system message is given that the problem cannot take.
        """
        problem = self.tasks[task].problem(item, self.style(task, converses), seed)
        return with_system(problem, self.system)

    def task_sampling(self, task: int, converses: bool) -> dict[str, Any]:
        """Return the sampling parameters for a task; for a base model, they include the task's stop strings."""
        stops = {} if self.style(task, converses) == "chat" else {"stop": self.tasks[task].task.stops}
        return stops | dict(self.sampling)


def plan(
    tasks: Sequence[Chosen],
    method: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    limit: int | None = None,
    sampling: Mapping[str, Any] | None = None,
    seeds: Sequence[int] = (0,),
    budget: Budget | str = "",
    others: Mapping[str, str] | None = None,
    system: str | None = None,
) -> Plan:
    """Load the first items of tasks, and build the plan.

    Raises
    ------
    ParameterError, FormatError
        If an argument is invalid, or a task's items are missing, damaged or ambiguous.
    """
    caps = Budget.parse(budget) if isinstance(budget, str) else budget
    found = find(method)
    check_method(found, parameters or {})
    for chosen in tasks:
        if not isinstance(chosen, Chosen):
            raise ParameterError(f"tasks must be a list such as [choose('gsm8k')], got {tasks!r:.60}")
        check_parts(chosen.task.uses)
    found.check_sampling(sampling or {})
    empty = Plan(
        *(tuple(tasks), (), found, dict(parameters or {}), dict(sampling or {}), tuple(seeds), caps, limit, method),
        others=dict(others or {}),
        system=system,
    )
    items = tuple(tuple(chosen.load(limit)) for chosen in tasks)  # loaded last, once everything else is valid
    for chosen, own in zip(tasks, items, strict=True):
        if not isinstance(chosen.task, LikelihoodTask):
            check_data(found, parameters or {}, [item.data for item in own])
    return replace(empty, items=items)
