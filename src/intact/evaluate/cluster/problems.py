"""The problems of a task as a job for a pool: `intact solve --task` on many machines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from intact.evaluate.cluster.receipts import receipts_refusal
from intact.reason.backends.base import Backend
from intact.reason.driving.journal import JournalFolder
from intact.reason.registry import find
from intact.solving.run import Graded, solve_items
from intact.tasks.choose import choose
from intact.tasks.task import Item


@dataclass(frozen=True)
class ProblemsJob:
    """Problems of a task, each answered by a method.

    Attributes
    ----------
    method, task : str
        Names of the method and the task; the method may be ``FILE.py:NAME``, and the task anything that `choose`
        accepts. Files that they name must exist on every machine.
    options : mapping
        Options of `intact.solving.solve_items`.
    receipts : mapping or None
        The facts about a machine that receipts state (`intact.evaluate.cluster.receipts.stated`), if receipts are
        requested.
    """

    method: str
    task: str
    parameters: Mapping[str, Any]
    options: Mapping[str, Any]
    receipts: Mapping[str, Any] | None = None

    def refusal(self, backends: Mapping[str, Backend]) -> str:
        """Return the reason why receipts would differ; answers depend only on versions and model digests.

        Raises
        ------
        ParameterError
            If the method or task does not exist on the machine.
        """
        choose(self.task)
        return receipts_refusal(self.receipts, find(self.method), self.parameters)

    def run(
        self, backends: Mapping[str, Backend], items: Sequence[Item], journals: JournalFolder | None
    ) -> Iterator[tuple[int, Graded]]:
        """Solve problems."""
        place = {item.id: number for number, item in enumerate(items)}
        method, task = find(self.method), choose(self.task)
        options = {**self.options, "journal": journals, "receipt": self.receipts is not None}
        solving = solve_items(backends, method, task, items, parameters=self.parameters, **options)
        with closing(solving) as graded:
            for one in graded:
                yield place[one.item.id], one
