"""The result of a run so far, as a result file that grows while the run goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from intact._base.files import write_whole
from intact.evaluate.files import partial_of
from intact.evaluate.plan import Plan, Unit
from intact.evaluate.results import EvaluationRun
from intact.evaluate.scores import scores
from intact.evaluate.work import Done

EVERY: Final = 10.0
"""Seconds from one writing to the next at least; also ten times as long as writing takes."""


class PartialResult:
    """Collects finished units, and writes those that there are from time to time.

    The file is that of a run of these records alone, without trees of texts; its manifest says how many are `planned`.
    Undecided verdicts are left out.

    Parameters
    ----------
    path : Path
        Of the result; what is written stands beside it (`intact.evaluate.files.partial_of`).
    described : mapping
        The run's manifest.
    every : float
        Seconds from one writing to the next.
    """

    def __init__(self, path: Path, plan: Plan, described: Mapping[str, Any], every: float = EVERY) -> None:
        self.path, self._plan, self._described, self._every = partial_of(path), plan, described, every
        self._done: dict[Unit, Done] = {}
        self._due = 0.0

    def add(self, one: Done) -> None:
        """Take a finished unit, and write if it is time to."""
        if not one.record.undecided:
            self._done[one.unit] = one
        now = time.monotonic()
        if self._done and now >= self._due:
            self.write()
            self._due = time.monotonic() + max(self._every, 10 * (time.monotonic() - now))

    def write(self) -> None:
        """Write what there is."""
        records = tuple(self._done[unit].record for unit in sorted(self._done))
        about = dict(self._described) | {"records": len(records), "planned": self._described["records"]}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.path, EvaluationRun(about, records, scores(self._plan.tasks, records)).data())

    def remove(self) -> None:
        """Remove the file, as the result is there."""
        self.path.unlink(missing_ok=True)
