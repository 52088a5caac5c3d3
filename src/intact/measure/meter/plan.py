"""The order of measurements, and the selection of steps that fit into the limits."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from intact._base.errors import ParameterError
from intact.measure.meter.apis.base import Setting
from intact.measure.meter.conditions import (
    AfterPause,
    AfterRestart,
    Again,
    Company,
    Condition,
    LongPrompt,
    Several,
    Streamed,
)

COMPANY = (2, 8, 32, 44, 256)
"""Default numbers of concurrent other requests. Reports of broken batch invariance start at 2, 32, 44 and 256."""
HEATS = (0.0, 0.8)
TOLERANCE = 0.01
"""Share of changed answers against which a run decides."""
_CROWD = 64
"""Larger numbers of concurrent requests are measured last, because they take the most requests."""


class PlannedStep(NamedTuple):
    """One condition, in one setting, in one round; converted to a string, its key in the journal."""

    round: int
    setting: Setting
    condition: Condition

    @property
    def key(self) -> str:
        """The step's name in the journal."""
        return f"round {self.round + 1}, {self.setting}, {self.condition.name}"


@dataclass(frozen=True)
class MeterPlan:
    """Prompts, rounds, settings and conditions to measure.

    Attributes
    ----------
    probes
        Number of prompts per round and setting.
    rounds
        Number of rounds, each with its own prompts.
    settings, company
        Sampling settings, and numbers of concurrent other requests.
    pause
        Seconds of the pause; 0 leaves it out.
    restart
        Shell command that restarts the endpoint; empty if there is none.

    Raises
    ------
    ParameterError
        If a number is out of range, or a setting or size is given twice.
    """

    probes: int = 8
    rounds: int = 1
    settings: tuple[Setting, ...] = (Setting(0.0), Setting(0.8, 0))
    company: tuple[int, ...] = COMPANY
    pause: float = 10.0
    restart: str = ""
    conditions: tuple[Condition, ...] = field(init=False)

    def __post_init__(self) -> None:
        if not 1 <= self.probes <= 1000 or not 1 <= self.rounds <= 1000:
            raise ParameterError(f"probes and rounds must be 1 to 1000, got {self.probes} and {self.rounds}")
        if not self.settings or len(set(self.settings)) < len(self.settings):
            raise ParameterError("give at least one pair of temperature and seed, and none twice")
        if not all(0 <= setting.temperature <= 100 for setting in self.settings):
            raise ParameterError(f"temperatures must be 0 to 100, got {[one.temperature for one in self.settings]}")
        if len(set(self.company)) < len(self.company) or not all(1 <= size <= 4096 for size in self.company):
            raise ParameterError(f"sizes of company must be different, 1 to 4096 each, got {list(self.company)}")
        if not 0 <= self.pause <= 3600:
            raise ParameterError(f"the pause must be 0 to 3600 seconds, got {self.pause:g}")
        small = [Company(size) for size in sorted(self.company) if size <= _CROWD]
        large = [Company(size) for size in sorted(self.company) if size > _CROWD]
        pause = [AfterPause(self.pause)] if self.pause else []
        restart = [AfterRestart(self.restart)] if self.restart else []
        found = [Again(), *restart, *small, Streamed(), LongPrompt(), Several(), *pause, *large]
        object.__setattr__(self, "conditions", tuple(found))

    def fit(self, requests: int, done: Collection[str] = ()) -> tuple[list[PlannedStep], list[tuple[PlannedStep, int]]]:
        """Return the steps that fit into a number of requests, in working order, and the others with their sizes.

        Parameters
        ----------
        done : collection of str
            Keys of steps that an earlier session has measured.
        """
        chosen: list[PlannedStep] = []
        left_out: list[tuple[PlannedStep, int]] = []
        opened: set[tuple[int, Setting]] = set()
        for part in range(self.rounds):
            for condition in self.conditions:
                for setting in self.settings:
                    step = PlannedStep(part, setting, condition)
                    if step.key in done:
                        continue
                    reference = 0 if (part, setting) in opened else self.probes
                    size = condition.requests(self.probes, setting) + reference
                    if size > requests:
                        left_out.append((step, size))
                        continue
                    requests -= size
                    opened.add((part, setting))
                    chosen.append(step)
        order = {setting: place for place, setting in enumerate(self.settings)}
        chosen.sort(key=lambda step: (step.round, order[step.setting], step.condition.late))
        return chosen, left_out


def read_settings(temperatures: Sequence[float], seeds: Sequence[int]) -> tuple[Setting, ...]:
    """Return all pairs of temperatures and seeds; temperature 0 needs no seed."""
    found = [Setting(0.0)] if 0 in temperatures else []
    return (*found, *(Setting(heat, seed) for heat in temperatures if heat for seed in seeds))


def read_company(text: str) -> tuple[int, ...]:
    """Read sizes of company, such as ``2,8,32``; an empty text is none.

    Raises
    ------
    ParameterError
        If a part is not a number.
    """
    try:
        return tuple(int(part) for part in text.split(",") if text.strip())
    except ValueError:
        raise ParameterError(f"sizes of company must be numbers, such as 2,8,32, got {text!r:.60}") from None
