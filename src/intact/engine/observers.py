"""Observers of a step's rows: the values that requests need at each row of a run, in addition to its tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact.engine.draft.base import Drafter
from intact.engine.drafting import Drafting
from intact.engine.sampling.spread import spread_of
from intact.engine.sequence import SequenceRun
from intact.executors.base import Executor
from intact.numerics.sampling import is_uncertain


class LogitRows(NamedTuple):
    """The logit rows of a step, and the executors that computed them, the main model's first."""

    executors: Sequence[Executor]
    logits: NDArray[np.int32]

    @property
    def main(self) -> Executor:
        """Executor of the main model."""
        return self.executors[0]


class Observer(NamedTuple):
    """Reads a value at each row on the paths of runs.

    Attributes
    ----------
    wanted : callable
        Returns a true value if a run needs the observation.
    read : callable
        Stores it in those runs (`SequenceRun.notes`) under its `Event` field, and changes nothing else.
    prompts : bool
        If true, runs without results, which compute parts of prompts, are observed too.
    """

    wanted: Callable[[SequenceRun], Any]
    read: Callable[[LogitRows, Sequence[SequenceRun]], None]
    prompts: bool = False


def observers(drafting: Drafting | None) -> list[Observer]:
    """Return the observers of an engine; each is applied to every run in every step."""
    found = [
        Observer(attrgetter("sequence.request.stop_below"), _read_uncertainty),
        Observer(attrgetter("sequence.request.top"), _read_likeliest),
        Observer(attrgetter("sequence.request.spread"), _read_spreads),
        Observer(attrgetter("sequence.request.heads"), _read_heads),
    ]
    if drafting is not None and drafting.hidden:
        read = partial(_read_hidden, drafting.drafter)
        found.append(Observer(lambda run: run.sequence.drafts_later and (run.leading or run.completes), read, True))
    return found


def _read_uncertainty(rows: LogitRows, runs: Sequence[SequenceRun]) -> None:
    """Record whether the likeliest token is less likely than the request's `stop_below`."""
    places = _places(runs)
    logprobs = rows.main.top(rows.logits, np.array(places, np.int64), 1)[1][:, 0].tolist()
    known = iter(zip(places, logprobs, strict=True))
    for run in runs:
        bound = run.sequence.request.stop_below
        run.notes["uncertain"] = [
            is_uncertain(rows.logits[row], bound, value) for row, value in islice(known, len(run.path))
        ]


def _read_likeliest(rows: LogitRows, runs: Sequence[SequenceRun]) -> None:
    """Record the likeliest tokens."""
    most = max(run.sequence.request.top for run in runs)
    tokens, logprobs = rows.main.top(rows.logits, np.array(_places(runs), np.int64), most)
    likeliest = zip(tokens.tolist(), logprobs.tolist(), strict=True)
    for run in runs:
        count = run.sequence.request.top
        run.notes["top"] = [tuple(zip(*next(likeliest), strict=True))[:count] for _ in run.path]


def _read_spreads(rows: LogitRows, runs: Sequence[SequenceRun]) -> None:
    """Record the entropy and certainty of the distribution."""
    for run in runs:
        run.notes["spread"] = [spread_of(rows.logits[run.first + row]) for row in run.path]


def _read_heads(rows: LogitRows, runs: Sequence[SequenceRun]) -> None:
    """Record the head inputs; for a mix, those of all streams."""
    streams = [(run, *one) for run in runs for one in zip(run.sequence.streams, run.firsts, strict=True)]
    inputs: list[Iterator[Any]] = []  # one per model
    for model, executor in enumerate(rows.executors):
        own = [first + row for run, stream, first in streams if stream.model == model for row in run.path]
        inputs.append(iter(executor.head_inputs(np.array(own, np.int64)) if own else ()))
    for run, stream, _ in streams:
        heads = run.notes.get("head") or [b""] * len(run.path)
        run.notes["head"] = [head + next(inputs[stream.model]).tobytes() for head in heads]


def _read_hidden(drafter: Drafter, rows: LogitRows, runs: Sequence[SequenceRun]) -> None:
    """Record the head inputs that a drafter reads, including those of rows before the path (`SequenceRun.hidden`)."""
    found = [
        (run, [run.first + row for row in (*range(-run.leading, 0), *(run.path if run.completes else ()))])
        for run in runs
    ]
    places = [row for _, several in found for row in several]
    inputs = iter(drafter.hidden_rows(rows.main, np.array(places, np.int64)))
    for run, several in found:
        run.hidden = [row.tobytes() for row in islice(inputs, len(several))]


def _places(runs: Sequence[SequenceRun]) -> list[int]:
    """Return the logit rows on the paths of runs."""
    return [run.first + row for run in runs for row in run.path]
