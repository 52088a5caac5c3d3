"""Spread the units of a plan over the workers of a Ray cluster; the result is the same as on one machine."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from intact import __version__
from intact.evaluate.cluster.pool import Pool
from intact.evaluate.cluster.receipts import receipts_refusal, stated
from intact.evaluate.manifest import digest, manifest
from intact.evaluate.plan import Plan, Unit
from intact.evaluate.results import ItemRecord
from intact.evaluate.work import Done, How, check_receipts, work
from intact.reason.backends.base import Backend
from intact.reason.driving.journal import Journal, JournalFolder, key_of
from intact.reason.registry import find

FILE = "records.sqlite"


def spread(
    pool: Pool, described: Callable[[Plan], Mapping[str, Any]]
) -> Callable[[Plan, Sequence[Unit], How], Generator[Done, None, None]]:
    """Return a function that processes a plan's units on a cluster, as `intact.evaluate.work.work` does locally.

    Parameters
    ----------
    described : callable
        Returns a plan's manifest; a worker whose manifest would differ is refused.
    """

    def work_on(plan: Plan, units: Sequence[Unit], how: How) -> Generator[Done, None, None]:
        expected, tokens = described(plan), 0
        folder = how.journal if isinstance(how.journal, Path) else None
        if how.receipt:
            check_receipts(plan.tasks)
        receipts = stated(plan.method, plan.parameters) if how.receipt else None
        job = UnitsJob(replace(plan, method=None), expected, how.parallel, receipts)  # type: ignore[arg-type]
        with closing(_Known(folder, expected)) as known:
            waiting = []
            for unit in units:  # stored records have no receipts, which are made from the journal of texts
                if how.receipt or (done := known.find(unit)) is None:
                    waiting.append(unit)
                else:
                    yield done
            for _, done in pool.map(job, waiting):
                known.add(done)
                tokens += done.record.cost["tokens"]
                if how.progress is not None:
                    how.progress(tokens)
                yield done

    return work_on


@dataclass(frozen=True)
class UnitsJob:
    """The units of a plan as a job for a pool; the plan is sent without its method, which is a function.

    Attributes
    ----------
    described : mapping
        The plan's manifest.
    receipts : mapping or None
        The facts about a machine that receipts state (`intact.evaluate.cluster.receipts.stated`), if receipts are
        requested.
    """

    plan: Plan
    described: Mapping[str, Any]
    parallel: int
    receipts: Mapping[str, Any] | None = None

    def refusal(self, backends: Mapping[str, Backend]) -> str:
        """Return a message about the first difference in a worker's manifest or receipts.

        Return an empty string if there is none.
        """
        plan = self._plan()
        wrong = difference(self.described, manifest(plan, backends))
        return wrong or receipts_refusal(self.receipts, plan.method, plan.parameters)

    def run(
        self, backends: Mapping[str, Backend], items: Sequence[Unit], journals: JournalFolder | None
    ) -> Iterator[tuple[int, Done]]:
        """Process units."""
        place = {unit: number for number, unit in enumerate(items)}
        for done in work(backends, self._plan(), items, How(journals, self.parallel, None, self.receipts is not None)):
            yield place[done.unit], done

    def _plan(self) -> Plan:
        return replace(self.plan, method=find(self.plan.source))


def difference(described: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    """Return a message about the first difference in a worker's manifest; an empty string if there is none."""
    wrong = [name for name in described if described[name] != own.get(name)]
    return f"it would compute something else: {wrong[0]} is {own.get(wrong[0])!r:.300}" if wrong else ""


class _Known:
    """A journal of the records returned by workers."""

    def __init__(self, folder: Path | None, described: Mapping[str, Any]) -> None:
        self._journal, self._digest = Journal.inside(folder, FILE), digest(described)

    def _key(self, unit: Unit) -> bytes:
        return key_of("record", __version__, self._digest, list(unit))

    def find(self, unit: Unit) -> Done | None:
        found = self._journal.find(self._key(unit))
        return None if found is None else Done(unit, ItemRecord.of(found[0]), found[1])

    def add(self, done: Done) -> None:
        self._journal.add(self._key(done.unit), [done.record.as_dict(), done.trace])
        self._journal.commit()

    def close(self) -> None:
        self._journal.close()
