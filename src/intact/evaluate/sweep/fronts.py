"""Pareto fronts of accuracy against tokens, operations and seconds of a sweep's judgement; what seconds were measured.

Tokens and operations are counted, so that they are part of the result. Seconds are of one machine and one run: they
stand in the side file alone, and are joined with the result when it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from intact.stats.laws.frontier import Point, frontier

COUNTED: Final = ("tokens", "operations")
"""The units of cost that a result holds."""
MEASURED: Final = 0.5
"""The least share of a setting's tokens that must have been written under the clock for its seconds to be stated."""


class SweepSeconds(NamedTuple):
    """The seconds of a setting's held-out problems.

    Attributes
    ----------
    seconds : float
        Of one problem, many being worked on at a time: measured, and divided by `measured`.
    measured : float
        The share of its tokens that were written under the clock; the others were taken from the journal.
    """

    seconds: float
    measured: float


def fronts(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[int]]:
    """Return the front of accuracy against each counted unit: trials, from the cheapest.

    A unit that some setting has none of, as operations of a model behind an address, is left out.
    """
    return {
        unit: front_by({row["trial"]: row[unit] for row in rows}, rows)
        for unit in COUNTED
        if all(row[unit] > 0 for row in rows)
    }


def front_by(costs: Mapping[int, float], rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the trials with a cost that no other dominates in right answers and cost, from the cheapest."""
    points = [
        Point(str(row["trial"]), row["right"], {"cost": costs[row["trial"]]}) for row in rows if row["trial"] in costs
    ]
    return [int(point.name) for point in frontier(points, "cost").kept] if points else []


def seconds_of(judgement: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> dict[int, SweepSeconds]:
    """Return the seconds of the settings of a judgement, by trial, out of the steps of a side file.

    Settings share texts in the journal, and a sweep that was killed goes on from there. Texts that were not written
    under the clock are taken to be as fast as the others; of a setting with fewer than `MEASURED` of its tokens so
    measured nothing is stated.
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
