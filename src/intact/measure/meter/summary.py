"""Shares of changed answers, with exact bounds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from intact._base.exact import Number
from intact.measure.meter.journal import MeterTrial
from intact.measure.meter.plan import TOLERANCE
from intact.stats.proportions import anytime_interval, clopper_pearson, detectable, e_values

DECISIVE = 20
"""The e-value at or above which a hypothesis counts as refuted: reached by chance with probability at most 1/20."""


class ChangedShare(NamedTuple):
    """The share of changed answers in a set.

    Attributes
    ----------
    changed, answers
        Numbers of changed answers and of all answers.
    low, high
        The Clopper-Pearson interval at 95%.
    shifted
        Number of unchanged answers whose log-probabilities changed.
    """

    changed: int
    answers: int
    low: float
    high: float
    shifted: int

    @property
    def share(self) -> float:
        """The share; 0 without answers."""
        return self.changed / self.answers if self.answers else 0.0

    @classmethod
    def of(cls, trials: Iterable[MeterTrial]) -> ChangedShare:
        """Return the share among trials."""
        some = [trial.comparison for trial in trials]
        changed = sum(not one.equal for one in some)
        shifted = sum(one.equal and bool(one.shift) for one in some)
        return cls(changed, len(some), *clopper_pearson(changed, len(some)), shifted=shifted)


class ConditionShare(NamedTuple):
    """The trials of one condition in one setting."""

    condition: str
    setting: str
    others: int | None
    share: ChangedShare


class MeterSummary(NamedTuple):
    """The figures of a run.

    Attributes
    ----------
    groups
        Shares by setting and condition.
    total
        `ChangedShare` over all answers.
    prompts
        Share of prompts for which an answer changed. Answers to one prompt change together; prompts are independent.
    anytime
        95% interval of the total share that is valid at every look and stopping time.
    above, below
        Evidence (e-values) that the share of changed answers is above, or below, the tolerance.
    tolerance
        The tolerance.
    detectable
        Share of changed answers at which at least one would have been seen with a power of 80%.
    """

    groups: list[ConditionShare]
    total: ChangedShare
    prompts: ChangedShare
    anytime: tuple[float, float]
    above: float
    below: float
    tolerance: float
    detectable: float

    @property
    def status(self) -> int:
        """Exit status: 0 if no answer changed, 1 if some did, 2 if there are none."""
        return 2 if not self.total.answers else int(self.total.changed > 0)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        record = self._asdict()
        record["groups"] = [one._asdict() | {"share": _share(one.share)} for one in self.groups]
        infinite = {name: None for name in ("above", "below") if record[name] == float("inf")}
        return record | infinite | {"total": _share(self.total), "prompts": _share(self.prompts)}


def _share(share: ChangedShare) -> dict[str, Any]:
    return share._asdict() | {"share": share.share}


def summarize(trials: Sequence[MeterTrial], tolerance: Number = TOLERANCE) -> MeterSummary:
    """Compute the figures of a run.

    Raises
    ------
    ParameterError
        If the tolerance is not between 0 and 1.
    """
    keys = dict.fromkeys((trial.condition, trial.setting, trial.others) for trial in trials)
    groups = [
        ConditionShare(*key, ChangedShare.of(t for t in trials if (t.condition, t.setting, t.others) == key))
        for key in keys
    ]
    total = ChangedShare.of(trials)
    by_prompt: dict[str, MeterTrial] = {}
    for trial in trials:
        if trial.prompt not in by_prompt or not trial.comparison.equal:
            by_prompt[trial.prompt] = trial
    above, below = e_values(total.changed, total.answers, tolerance)
    return MeterSummary(
        groups,
        total,
        ChangedShare.of(by_prompt.values()),
        anytime_interval(total.changed, total.answers),
        above=above,
        below=below,
        tolerance=float(tolerance),
        detectable=detectable(total.answers),
    )


def decided(trials: Sequence[MeterTrial], tolerance: float) -> bool:
    """Return true if the share of changed answers is known to be above or below the tolerance."""
    changed = sum(not trial.comparison.equal for trial in trials)
    return max(e_values(changed, len(trials), tolerance)) >= DECISIVE
