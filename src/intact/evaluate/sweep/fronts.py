"""Pareto fronts of accuracy against tokens, operations and seconds in a sweep's judgement, with measured seconds.

Tokens and operations are counted, so they are part of the result. Seconds belong to one machine and one run: they are
stored only in the side file, and merged with the result for display.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from intact.stats.laws.frontier import Point, frontier

COUNTED: Final = ("tokens", "operations")
"""The cost units stored in a result."""
MEASURED: Final = 0.5
"""The minimum share of a setting's tokens that must be timed for its seconds to be reported."""


class SweepSeconds(NamedTuple):
    """The seconds of a setting's held-out problems.

    Attributes
    ----------
    seconds : float
        Seconds per problem, with many processed concurrently: the measured time divided by `measured`.
    measured : float
        The share of its tokens that were timed; the others came from the journal.
    """

    seconds: float
    measured: float


def fronts(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[int]]:
    """Return the front of accuracy against each counted unit, as trials ordered from the cheapest.

    A unit that is zero for some setting, such as the operations of a model behind an endpoint, is left out.
    """
    return {
        unit: front_by({row["trial"]: row[unit] for row in rows}, rows)
        for unit in COUNTED
        if all(row[unit] > 0 for row in rows)
    }


def front_by(costs: Mapping[int, float], rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the trials with a cost that no other trial dominates in right answers and cost, cheapest first."""
    points = [
        Point(str(row["trial"]), row["right"], {"cost": costs[row["trial"]]}) for row in rows if row["trial"] in costs
    ]
    return [int(point.name) for point in frontier(points, "cost").kept] if points else []


def seconds_of(judgement: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> dict[int, SweepSeconds]:
    """Return the seconds of a judgement's settings, by trial, from the steps in a side file.

    Settings share completions in the journal, and a sweep that was killed resumes from it. Completions that were not
    timed are assumed to be as fast as the others; if fewer than `MEASURED` of a setting's tokens were timed, it is
    omitted.
    """
    found = {}
    for row in judgement["settings"]:
        own = [step for step in steps if step["trial"] == row["trial"] and step["part"] == "held_out"]
        written = sum(step["written"] for step in own)
        share = min(1.0, written / max(1, row["tokens"]))
        if share >= MEASURED:
            whole = sum(step["seconds"] for step in own) / share
            found[row["trial"]] = SweepSeconds(whole / judgement["problems"], share)
    return found
