"""Recommended methods: those with a gain measured in this project, as reported on their pages in docs/methods."""

from __future__ import annotations

from typing import Final, NamedTuple


class MeasuredGain(NamedTuple):
    """A gain in right answers per 100, with the bounds of its 95% interval.

    Attributes
    ----------
    setting, over : str
        The task with the method's settings, and the baseline of the gain.
    """

    setting: str
    over: str
    points: float
    low: float
    high: float

    def __str__(self) -> str:
        interval = f"{self.low:+z.1f} to {self.high:+z.1f}"
        return f"{self.setting}: {self.points:+z.1f} points ({interval}) over {self.over}"


RECOMMENDED: Final = {
    "self_consistency": MeasuredGain("GSM8K, 0.5B, n=16", "greedy", 17.0, 10.0, high=25.0),
    "adaptive_consistency": MeasuredGain("GSM8K, 1.5B, n=64", "greedy", 15.0, 7.0, high=24.0),
    "best_of_n": MeasuredGain("HumanEval, 0.5B, n=16 with scorer=unit_tests", "greedy", 18.6, 8.6, high=28.6),
    "interleaved_code": MeasuredGain("GSM8K, 1.5B, n=4", "a vote of four", 14.0, 6.0, high=22.0),
    "code_verified": MeasuredGain("GSM8K, 1.5B, n=4", "a vote of four", 9.0, 4.0, high=15.0),
}
"""The gain of each recommended method; `intact methods` lists these first."""
