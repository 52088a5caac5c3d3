"""Measure speed: rounds over a list of workloads, and medians with their spread.

A round runs every workload once, so that a slowdown of the machine affects all of them; the first round is a warm-up
and is not counted. Each run uses a different prompt.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from intact._base.errors import ParameterError
from intact.measure.bench.passage import Passage
from intact.measure.bench.workloads import GROUPS, Workload

if TYPE_CHECKING:
    from intact.library import Model


@dataclass(frozen=True)
class Measurement:
    """One metric of one workload, with a value for each round.

    Attributes
    ----------
    group : str
        The workload's key in `GROUPS`.
    what : str
        The workload's title.
    part : str
        The metric, if the workload has several.
    unit : str
        Unit of the values: `tokens/s`, `s`, `B`, or empty for a count.
    """

    group: str
    what: str
    part: str
    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of the values."""
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        """The minimum of the values."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The maximum of the values."""
        return max(self.values)


def choose(only: Sequence[str] | None, context: int) -> tuple[list[Workload], list[Workload]]:
    """Return the workloads of the given groups (all for None) that fit a context, and those that do not.

    Raises
    ------
    ParameterError
        If a group does not exist, or the context is too short for every workload.
    """
    wanted = list(GROUPS) if only is None else list(only)
    for group in wanted:
        if group not in GROUPS:
            raise ParameterError(f"no workload named {group!r}: expected one of {', '.join(GROUPS)}")
    chosen = [workload for group in GROUPS if group in wanted for workload in GROUPS[group]]
    fitting = [workload for workload in chosen if workload.positions <= context]
    if not fitting:
        least = min(workload.positions for workload in chosen)
        raise ParameterError(f"the context of {context} tokens is too short: the smallest workload needs {least}")
    return fitting, [workload for workload in chosen if workload.positions > context]


def measure(
    model: Model,
    workloads: Sequence[Workload],
    repeats: int = 3,
    progress: Callable[[int, Workload], None] = lambda done, workload: None,
    passage: Passage | None = None,
) -> list[Measurement]:
    """Run the workloads in rounds.

    Parameters
    ----------
    repeats : int
        Number of rounds, in addition to one warm-up round.
    progress : callable
        Called before each run with the number of runs done and the next workload.
    passage : Passage, optional
        Source of the prompts. Prompts taken from it later do not share a prefix with those that the model has cached.

    Raises
    ------
    ParameterError
        If repeats is less than 1.
    """
    if repeats < 1:
        raise ParameterError(f"repeats must be at least 1, got {repeats}")
    passage = passage or Passage(model.tokenizer)
    values: dict[tuple[str, str, str, str], list[float]] = {}
    for round_ in range(repeats + 1):
        for index, workload in enumerate(workloads):
            progress(round_ * len(workloads) + index, workload)
            for part, unit, value in workload.run(model, passage):
                if round_:
                    values.setdefault((workload.group, workload.title, part, unit), []).append(value)
    return [Measurement(*key, tuple(found)) for key, found in values.items()]
