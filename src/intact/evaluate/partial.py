"""The partial result of a run, as a result file that grows while the run is in progress."""

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
"""Minimum interval between two writes, in seconds; the interval is also at least ten times the duration of a write."""


class PartialResult:
    """Collect finished units and write them at intervals.

    The file is a result file with only these records and no traces; its manifest states how many are `planned`.
    Undecided verdicts are left out.

    Parameters
    ----------
    path : Path
        The path of the result; the partial file is written next to it (`intact.evaluate.files.partial_of`).
    described : mapping
        The run's manifest.
    every : float
        Seconds between two writes.
    """

    def __init__(self, path: Path, plan: Plan, described: Mapping[str, Any], every: float = EVERY) -> None:
        self.path, self._plan, self._described, self._every = partial_of(path), plan, described, every
        self._done: dict[Unit, Done] = {}
        self._due = 0.0

    def add(self, one: Done) -> None:
        """Add a finished unit, and write the file if it is due."""
        if not one.record.undecided:
            self._done[one.unit] = one
        now = time.monotonic()
        if self._done and now >= self._due:
            self.write()
            self._due = time.monotonic() + max(self._every, 10 * (time.monotonic() - now))

    def write(self) -> None:
        """Write the units collected so far."""
        records = tuple(self._done[unit].record for unit in sorted(self._done))
        about = dict(self._described) | {"records": len(records), "planned": self._described["records"]}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.path, EvaluationRun(about, records, scores(self._plan.tasks, records)).data())

    def remove(self) -> None:
        """Remove the file, once the final result exists."""
        self.path.unlink(missing_ok=True)
