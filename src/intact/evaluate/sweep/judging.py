"""Verdicts on held-out problems: which settings are non-inferior to the baseline, and the power of the test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from statistics import NormalDist
from typing import Any, NamedTuple

from intact._base.errors import ParameterError
from intact.evaluate.scores import rounded
from intact.evaluate.sweep.fronts import fronts
from intact.evaluate.sweep.halving import front
from intact.evaluate.sweep.search import Search
from intact.stats.intervals import wilson
from intact.stats.multiple import holm
from intact.stats.paired import mcnemar

WANTED = 0.8
"""The power for which a required number of problems is reported."""


class SweepComparison(NamedTuple):
    """A setting compared with the baseline, on the same problems.

    Attributes
    ----------
    difference, low, high
        Its accuracy minus the baseline's, with an interval that holds simultaneously for all comparisons (Bonferroni);
        its lower end is the one-sided bound.
    discordant : float
        The share of problems that only one of the two got right, with one more problem added on either side.
    p, adjusted : float
        The p-value for the null hypothesis that the difference is -margin or less; the same after Holm's correction.
    non_inferior : bool
        If true, `adjusted` is at most the level.
    """

    trial: int
    difference: float
    low: float
    high: float
    discordant: float
    p: float
    adjusted: float
    non_inferior: bool


def compare(
    baseline: Sequence[bool], others: Sequence[Sequence[bool]], margin: float, level: float
) -> list[SweepComparison]:
    """Compare settings with the baseline, problem by problem.

    Let b and c be the numbers of problems, out of N, that only the setting or only the baseline got right. With one
    more problem added on either side (Bonett and Price 2012):

      d = (b - c) / (N + 2), s = (b + c + 2) / (N + 2), p = 1 - Phi((d + margin) / sqrt((s - d^2) / (N + 2))).

    Raises
    ------
    ParameterError
        If there are no settings, or their numbers of problems differ.
    """
    if not others:
        raise ParameterError("there are no settings to compare")
    found = []
    for own in others:
        both = mcnemar(own, baseline, 1 - 2 * level / len(others))
        n = len(baseline) + 2
        d, s = (both.only_first - both.only_second) / n, (both.only_first + both.only_second + 2) / n
        p = NormalDist().cdf(-(d + margin) / math.sqrt((s - d * d) / n))
        found.append((both, s, rounded(p)))
    corrected = holm([p for *_, p in found], level)
    return [
        SweepComparison(
            trial,
            rounded(both.difference),
            rounded(both.low),
            rounded(both.high),
            discordant=rounded(discordant),
            p=p,
            adjusted=rounded(float(corrected.p[trial])),
            non_inferior=bool(corrected.rejected[trial]),
        )
        for trial, (both, discordant, p) in enumerate(found)
    ]


def power(discordant: float, problems: int, margin: float, level: float) -> float:
    """Return the probability that a setting as accurate as the baseline is found non-inferior.

    Phi(margin / sqrt(s / N) - z_{1 - level}), where s is the share of discordant problems.
    """
    normal = NormalDist()
    return rounded(normal.cdf(margin / math.sqrt(discordant / problems) - normal.inv_cdf(1 - level)))


def problems_for(discordant: float, margin: float, level: float) -> int:
    """Return the number of problems needed for `power` to reach `WANTED`."""
    normal = NormalDist()
    return math.ceil(discordant * ((normal.inv_cdf(1 - level) + normal.inv_cdf(WANTED)) / margin) ** 2)


def judge(found: Search) -> dict[str, Any]:
    """Return the judgement of a search's finalists, as a JSON object.

    `found` is the cheapest setting that is non-inferior with at most `Design.share` of the baseline's tokens. If there
    is no such setting, `found` is None, `dearer` is the cheapest setting that is non-inferior with fewer tokens than
    the baseline, and `power` is the probability that a setting as accurate as the baseline would have been found
    non-inferior.
    """
    design = found.design
    places = [0, *found.finalists]
    outcomes = [found.outcomes[trial, "held_out"] for trial in places]
    points = [found.point(trial, "held_out") for trial in places]
    right = [[one.right for one in own] for own in outcomes]
    compared = compare(right[0], right[1:], design.margin, design.level)
    best = front(points)
    rows: list[dict[str, Any]] = []
    for place, trial in enumerate(places):
        known = found.point(trial, "training")
        count = len(found.outcomes[trial, "training"])
        low, high = wilson(points[place].right, found.judged)
        row = {
            "trial": trial,
            "label": design.trials[trial].label,
            "problems": found.judged,
            "right": points[place].right,
            "accuracy": rounded(points[place].right / found.judged),
            "low": rounded(low),
            "high": rounded(high),
            "tokens": points[place].tokens,
            "tokens_each": rounded(points[place].tokens / found.judged),
            "tokens_share": rounded(points[place].tokens / max(1, points[0].tokens)),
            "operations": sum(one.operations for one in outcomes[place]),
            "training_accuracy": rounded(known.right / count),
            "front": place in best,
        }
        if place:
            one = compared[place - 1]._asdict()
            row |= {"against_baseline": {name: value for name, value in one.items() if name != "trial"}}
        rows.append(row)
    good = [row for row in rows[1:] if row["against_baseline"]["non_inferior"] and row["tokens"] < rows[0]["tokens"]]
    cheapest = min(good, key=lambda row: row["tokens"], default=None)
    most = Fraction(str(design.share)) * rows[0]["tokens"]
    chosen = cheapest if cheapest is not None and cheapest["tokens"] <= most else None
    return {
        "problems": found.judged,
        "share": design.share,
        "settings": rows,
        "front": [places[i] for i in sorted(best, key=lambda i: points[i].tokens)],
        "fronts": fronts(rows),
        "found": None if chosen is None else chosen["trial"],
        "dearer": None if cheapest is None or chosen is not None else cheapest["trial"],
        "power": None if chosen is not None else _power(compared, found),
    }


def _power(compared: Sequence[SweepComparison], found: Search) -> dict[str, Any]:
    """Return the power of the closest comparison, at the level used in the first step of Holm's procedure."""
    design, nearest = found.design, min(compared, key=lambda one: one.p)
    level = design.level / len(compared)
    return {
        "setting": found.finalists[nearest.trial],
        "discordant": nearest.discordant,
        "power": power(nearest.discordant, found.judged, design.margin, level),
        "problems_for_80": problems_for(nearest.discordant, design.margin, level),
    }
