"""Profile a workload: seconds in native calls, in Python, and in each operation of its steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from intact import _native
from intact.executors.profile import MachineLimits, Record, measure_limits
from intact.measure.bench import workloads
from intact.measure.bench.passage import Passage
from intact.measure.bench.workloads import Workload

if TYPE_CHECKING:
    from intact.library import Model


@dataclass(frozen=True)
class Profile:
    """The profile of one workload.

    Attributes
    ----------
    title : str
        The workload's title.
    seconds : float
        Duration of the whole run.
    calls : dict
        Seconds in each native function.
    records : list of Record
        Operations of the steps, from a second run.
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
    """Yield a mapping that collects the seconds spent in each native function called in the block, by name."""
    seconds: dict[str, float] = {}
    kept = [
        (place, name, function)
        for place in (_native, _native.Model)
        for name, function in vars(place).items()
        if callable(function) and name[0] != "_" and not isinstance(function, type)
    ]
    for place, name, function in kept:
        setattr(place, name, _timed(function, name, seconds))
    try:
        yield seconds
    finally:
        for place, name, function in kept:
            setattr(place, name, function)


def _timed(function: Callable[..., Any], name: str, seconds: dict[str, float]) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        start = workloads.clock()
        try:
            return function(*arguments, **named)
        finally:
            seconds[name] = seconds.get(name, 0.0) + workloads.clock() - start

    return call


def representative(chosen: Sequence[Workload]) -> list[Workload]:
    """Return the last workload of each group except forks, which hardly run the model."""
    return list({workload.group: workload for workload in chosen if workload.group != "forks"}.values())


def profile(model: Model, workload: Workload, passage: Passage) -> Profile:
    """Run a workload twice: first with native calls timed, then with operations timed, which adds a small cost."""
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


def limits(model: Model) -> MachineLimits:
    """Measure this machine's arithmetic and memory rates with the model's tier and threads."""
    facts = model.info()
    return measure_limits(str(facts["tier"]), int(facts["threads"]))
