"""Where a workload's time goes: native calls and Python between them; within the steps, the operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from intact import _native
from intact.bench import workloads
from intact.bench.passage import Passage
from intact.bench.workloads import Workload
from intact.executors.profile import Limits, Record, measure_limits

if TYPE_CHECKING:
    from intact.library import Model


@dataclass(frozen=True)
class Profile:
    """One run of a workload.

    Attributes
    ----------
    title : str
        The work.
    seconds : float
        All of it.
    calls : dict
        Seconds of it within each native function.
    records : list of Record
        The operations of the steps, from a second run.
    """

    title: str
    seconds: float
    calls: dict[str, float]
    records: list[Record]

    @property
    def python(self) -> float:
        """Seconds outside native calls."""
        return self.seconds - sum(self.calls.values())


@contextmanager
def native_calls() -> Iterator[dict[str, float]]:
    """Seconds within each native function that is called meanwhile, by name."""
    seconds: dict[str, float] = {}
    places = [(_native, name) for name, found in vars(_native).items() if callable(found)]
    places += [(_native.Model, name) for name, found in vars(_native.Model).items() if callable(found)]
    kept = [(place, name, getattr(place, name)) for place, name in places if name[0] != "_"]
    kept = [(place, name, found) for place, name, found in kept if not isinstance(found, type)]
    for place, name, found in kept:
        setattr(place, name, _timed(found, name, seconds))
    try:
        yield seconds
    finally:
        for place, name, found in kept:
            setattr(place, name, found)


def _timed(function: Callable[..., Any], name: str, seconds: dict[str, float]) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        start = workloads.clock()
        try:
            return function(*arguments, **named)
        finally:
            seconds[name] = seconds.get(name, 0.0) + workloads.clock() - start

    return call


def representative(chosen: Sequence[Workload]) -> list[Workload]:
    """The last workload of each group that runs the model."""
    return list({workload.group: workload for workload in chosen if workload.group != "forks"}.values())


def profile(model: Model, workload: Workload, passage: Passage) -> Profile:
    """Run a workload twice: with its native calls timed, then with its operations timed, for that costs a little."""
    executor: Any = model.executor
    with native_calls() as calls:
        start = workloads.clock()
        workload.run(model, passage)
        seconds = workloads.clock() - start
    executor.profiling = True
    try:
        workload.run(model, passage)
        records: list[Record] = executor.profile_records()
    finally:
        executor.profiling = False
    return Profile(workload.title, seconds, dict(calls), records)


def limits(model: Model) -> Limits:
    """What this machine allows with the model's tier and threads."""
    facts = model.info()
    return measure_limits(str(facts["tier"]), int(facts["threads"]))
