"""Run an evaluation: process a plan's units in any order and on any number of machines, always with the same result."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any

from intact._base.errors import ParameterError
from intact.evaluate.manifest import manifest
from intact.evaluate.plan import Plan, Unit
from intact.evaluate.results import EvaluationRun
from intact.evaluate.scores import scores
from intact.evaluate.work import Done, How, work
from intact.reason.backends.base import Backend

Worker = Callable[[Plan, Sequence[Unit], How], Generator[Done, None, None]]


def run_units(
    worker: Worker, plan: Plan, how: How, *, shuffle: int | None = None, done: Callable[[Done], None] | None = None
) -> list[Done]:
    """Run all units of a plan, and return them in the plan's order.

    Parameters
    ----------
    shuffle : int, optional
        Seed for a random order of work, which does not change the result.
    done : callable, optional
        Called with every finished unit.
    """
    units = list(plan.units())
    if shuffle is not None:
        random.Random(shuffle).shuffle(units)
    results: dict[Unit, Done] = {}
    with closing(worker(plan, units, how)) as finished:
        for one in finished:
            results[one.unit] = one
            if done is not None:
                done(one)
    return [results[unit] for unit in plan.units()]


def evaluate(
    backends: Mapping[str, Backend],
    plan: Plan,
    how: How | None = None,
    *,
    shuffle: int | None = None,
    described: Mapping[str, Any] | None = None,
    done: Callable[[Done], None] | None = None,
    worker: Worker | None = None,
) -> EvaluationRun:
    """Run all units of a plan.

    Parameters
    ----------
    backends : mapping of str to Backend
        The models by name; the first is evaluated.
    how : How, optional
        Options that do not change the result, such as the journal and the number of concurrent problems.
    shuffle : int, optional
        Seed for a random order, which makes intermediate scores unbiased estimates and does not change the result.
    described : mapping, optional
        The plan's manifest, if already known.
    done : callable, optional
        Called with every finished unit.
    worker : callable, optional
        Function that does the work instead of this process.

    Raises
    ------
    ParameterError
        If every problem failed; the message quotes the first error.
    """
    described = described or manifest(plan, backends)
    ordered = run_units(worker or partial(work, backends), plan, how or How(), shuffle=shuffle, done=done)
    records = tuple(one.record for one in ordered)
    errors = [record.error for record in records if record.why == "failed"]
    if len(errors) == len(records):
        raise ParameterError(f"every problem failed; the first: {errors[0]}")
    traces, receipts = (tuple(getattr(one, name) for one in ordered) for name in ("trace", "receipt"))
    return EvaluationRun(described, records, scores(plan.tasks, records), traces, receipts=receipts)
