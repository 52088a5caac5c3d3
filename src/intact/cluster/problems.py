"""The problems of a task as work for a pool: `intact solve --task` over many machines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from intact.reason.backends.base import Backend
from intact.reason.journal import JournalFolder
from intact.reason.registry import find
from intact.solving import Graded, solve_items
from intact.tasks import find_task
from intact.tasks.task import Item


@dataclass(frozen=True)
class ProblemsJob:
    """Problems of a task, each answered by a method.

    Attributes
    ----------
    method, task : str
        Names; of a method also ``FILE.py:NAME`` with a file that each machine has.
    options : mapping
        As of `intact.solving.solve_items`.
    """

    method: str
    task: str
    parameters: Mapping[str, Any]
    options: Mapping[str, Any]

    def refusal(self, backends: Mapping[str, Backend]) -> str:
        """Return nothing: versions and digests of models are all that answers depend on; raise if a part is missing.

        Raises
        ------
        ParameterError
            If there is no such method or task there.
        """
        find(self.method)
        find_task(self.task)
        return ""

    def run(
        self, backends: Mapping[str, Backend], items: Sequence[Item], journals: JournalFolder | None
    ) -> Iterator[tuple[int, Graded]]:
        """Solve problems."""
        place = {item.id: number for number, item in enumerate(items)}
        method, task = find(self.method), find_task(self.task)
        solving = solve_items(backends, method, task, items, self.parameters, journal=journals, **self.options)
        with closing(solving) as graded:
            for one in graded:
                yield place[one.item.id], one
