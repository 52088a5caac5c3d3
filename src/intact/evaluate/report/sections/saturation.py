"""The number of samples, and of rounds of revision, beyond which additional ones hardly help."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from intact._base.errors import IntactError
from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import Block, Paragraph, table
from intact.evaluate.report.formatting import percent, points, settled, whole, with_bounds
from intact.evaluate.report.sections.base import (
    MIXED,
    Arms,
    OmittedError,
    ReportSection,
    SectionBody,
    answer_grid,
    by_run,
    drawn_samples,
    measure_each,
    omission_notes,
    once,
    require,
)
from intact.evaluate.results import AnswerTurn
from intact.evaluate.scores import curve
from intact.stats.association import share_of_samples
from intact.stats.checks import Floats
from intact.stats.choosing_at_k import majority_at_k
from intact.stats.coverage import pass_at_k
from intact.stats.intervals import Interval
from intact.stats.laws.learning_curve import CurveForecast, forecast_curve
from intact.stats.laws.revision import sequential_saturation
from intact.stats.laws.saturation import SaturationInterval, saturation_interval

EPSILON = 0.001
"""Sampling counts as saturated when one more sample gains less accuracy than this, as in the paper."""
_POOR = 0.01
"""Root mean square residual above which a fit is called poor."""
_DRAWS = 100_000
"""Number of draws from the prior for a forecast."""
_EFFECTIVE = 100
"""Minimum number of effective draws for a forecast to be shown."""


class SeenCurves(NamedTuple):
    """Curves over the number of samples.

    Attributes
    ----------
    numbers : list of int
        Numbers of samples.
    values : dict of str to array, problems x numbers
        Coverage (`pass@k`) and the vote (`majority@k`).
    """

    numbers: list[int]
    values: dict[str, Floats]


class Foretold(NamedTuple):
    """Coverage at twice the number of samples drawn, according to the law in the section Scaling."""

    samples: int
    coverage: Interval


class Revision(NamedTuple):
    """The effect of rounds of revision.

    Attributes
    ----------
    mended, spoilt : Interval
        The shares of wrong answers that become right in a round, and of right answers that become wrong.
    limit, point, last_doubling, next_doubling : Interval
        As in `SequentialSaturation`.
    first, last : float
        The shares of right answers before the first round and after the last.
    rounds : int
        Number of rounds over all drafts.
    most : int
        Maximum number of rounds per draft.
    """

    mended: Interval
    spoilt: Interval
    limit: Interval
    point: Interval
    last_doubling: Interval
    next_doubling: Interval
    first: float
    last: float
    rounds: int
    most: int


@once
def seen_curves(arm: ReportArm) -> SeenCurves:
    """Return coverage and the vote for each problem of a run, at powers of two and at half of its samples."""
    samples = drawn_samples(arm)
    count = min(map(len, samples.values()))
    numbers = sorted({*curve(count), max(count // 2, 1)})
    if len(numbers) < 3 or len(samples) < MIXED:
        raise OmittedError(f"a law of saturation needs 4 samples of each of {MIXED} problems")
    grid = answer_grid(samples, count)
    tables = {
        "pass@k": np.array([pass_at_k(count, grid.right, k) for k in numbers]).T,
        "majority@k": np.array([majority_at_k(grid.answers, grid.verdicts, k) for k in numbers]).T,
    }
    return SeenCurves(numbers, tables)


@once
def curves_of(arm: ReportArm) -> dict[str, SaturationInterval]:
    """Fit the saturation model to the coverage and to the vote of a run."""
    numbers, curves = seen_curves(arm)
    found, lacking = measure_each(curves, lambda values: saturation_interval(numbers, values, EPSILON))
    if not found:
        raise OmittedError("; ".join(f"{name}: {why}" for name, why in lacking.items()))
    return found


class Forecasts(NamedTuple):
    """Forecasts of a run's curves; `because` maps the curves without a forecast to the reasons."""

    found: dict[str, CurveForecast]
    because: dict[str, str]


def forecasts_of(arm: ReportArm) -> Forecasts:
    """Forecast coverage and the vote at two and four times the samples drawn, using the prior of LC-PFN."""
    numbers, curves = seen_curves(arm)

    def forecast(values: Floats) -> CurveForecast:
        one = forecast_curve(numbers, values, [2 * numbers[-1], 4 * numbers[-1]], draws=_DRAWS)
        if one.effective < _EFFECTIVE:
            counted = f"{one.effective:,.0f} of {one.draws:,} draws of the prior count"
            raise OmittedError(f"only {counted}, but {_EFFECTIVE} are needed")
        return one

    return Forecasts(*measure_each(curves, forecast))


def foretold(arm: ReportArm) -> Foretold | None:
    """Return the coverage expected from twice the samples; None if no law can be fitted."""
    try:
        law = arm.law
    except IntactError:
        return None
    twice = 2 * int(arm.counts[0].max())
    at = int(np.flatnonzero(law.k == twice)[0])
    return Foretold(twice, Interval(float(law.coverage[at]), float(law.low[at]), float(law.high[at])))


def revision_of(arm: ReportArm) -> Revision:
    """Count the answers that rounds of revision fix and break, by problem."""
    drafts: dict[str, list[tuple[AnswerTurn, ...]]] = {}
    for record in arm.records:
        if own := [draft for draft in record.turns if draft]:  # none where the method failed before its first answer
            drafts.setdefault(record.id, []).extend(own)
    rounds = {
        name: [(bool(a.correct), bool(b.correct)) for draft in own for a, b in pairwise(draft)]
        for name, own in drafts.items()
    }
    wrong = [sum(not before for before, _ in own) for own in rounds.values()]
    right = [sum(before for before, _ in own) for own in rounds.values()]
    if min(sum(map(bool, wrong)), sum(map(bool, right))) < MIXED:
        raise OmittedError(
            f"fewer than {MIXED} problems have revised wrong answers, or fewer have revised right answers"
        )
    mended = share_of_samples([sum(not before and after for before, after in own) for own in rounds.values()], wrong)
    spoilt = share_of_samples([sum(before and not after for before, after in own) for own in rounds.values()], right)
    chain = sequential_saturation(
        [[[bool(turn.correct) for turn in draft] for draft in own] for own in drafts.values()], EPSILON
    )
    every = [draft for own in drafts.values() for draft in own]
    first, last = ([bool(draft[place].correct) for draft in every] for place in (0, -1))
    return Revision(
        mended,
        spoilt,
        limit=chain.limit,
        point=chain.point,
        last_doubling=chain.last_doubling,
        next_doubling=chain.next_doubling,
        first=float(np.mean(first)),
        last=float(np.mean(last)),
        rounds=sum(map(len, rounds.values())),
        most=chain.most,
    )


def _make(arms: Arms) -> SectionBody:
    sampled, lacking = by_run(arms, curves_of)
    revised, _ = by_run(arms, revision_of)
    require([*sampled, *revised], lacking)
    doubled = {arm.name: foretold(arm) for arm in arms if arm.name in sampled}
    forecasts, _ = by_run(arms, forecasts_of)
    blocks = [*_of_samples(sampled, doubled), *_of_forecasts(forecasts), *_of_rounds(revised)]
    notes = omission_notes({name: why for name, why in lacking.items() if name not in revised})
    numbers = {
        name: {
            "samples": sampled.get(name, {}),
            "foretold": doubled.get(name),
            "forecasts": _forecast_numbers(forecasts[name]) if name in forecasts else {},
            "rounds": revised.get(name),
        }
        for name in [*sampled, *revised]
    }
    return SectionBody([*blocks, *notes], numbers)


def _forecast_numbers(forecasts: Forecasts) -> dict[str, CurveForecast | dict[str, str]]:
    """Return each curve's forecast, or the reason why it has none."""
    return {
        kind: forecasts.found.get(kind) or {"because": forecasts.because[kind]} for kind in ("pass@k", "majority@k")
    }


def _of_samples(
    found: dict[str, dict[str, SaturationInterval]], doubled: dict[str, Foretold | None]
) -> Iterator[Block]:
    yield from table(
        (
            {
                "run": name,
                "curve": kind,
                "seen at the most samples": percent(one.seen),
                "points of the last doubling, seen": with_bounds(one.last_doubling, points),
                "of the next, foretold": with_bounds(one.next_doubling, points),
                "limit": with_bounds(one.f_max),
                "samples to saturation (N*)": with_bounds(one.point, whole),
                "misfit in points": f"{settled(100 * one.model.error):.1f}",
            }
            for name, of in found.items()
            for kind, one in of.items()
        ),
        f"A law F(N) = F_max (1 - (1 - p)^N) is fitted to each curve; from N* on another sample gains {EPSILON:.1%} or "
        "less. It takes all problems that can be solved to be equally hard, so that it saturates too soon where hard "
        "ones are left. In parentheses 95% intervals, by resampling problems.",
    )
    for name, twice in doubled.items():
        if twice is not None:
            words = f"foretells pass@{twice.samples:,} of {with_bounds(twice.coverage)}"
            yield Paragraph(f"{name}: the law under Scaling, which lets problems differ, {words}.")
    for name, of in found.items():
        for kind, one in of.items():
            if one.model.error >= _POOR:
                words = f"misses {kind} by {settled(100 * one.model.error):.1f} points on average"
                yield Paragraph(f"{name}: the law {words}; trust the gain seen more than the one foretold.", True)


def _of_forecasts(found: dict[str, Forecasts]) -> Iterator[Block]:
    yield from table(
        (
            {
                "run": name,
                "curve": kind,
                "at twice the samples": _forecast(one, 0),
                "at four times": _forecast(one, 1),
                "effective draws": f"{one.effective:,.0f} of {one.draws:,}",
            }
            for name, of in found.items()
            for kind, one in of.found.items()
        ),
        "Forecasts by the prior of LC-PFN: a rising curve within 0 and 100% is a sum of three families, and draws "
        "of it are weighted by how well they agree with the curve seen. In parentheses 95% intervals, for other "
        "problems of the same kind. They held the vote about as often in simulations, but pass@k, which rises "
        "longer than this prior expects, in 84% to 93% only: there the law under Scaling says more.",
    )
    for name, of in found.items():
        for kind, because in of.because.items():
            yield Paragraph(f"{name}: the forecast of {kind} is not shown, because {because}.")


def _forecast(one: CurveForecast, place: int) -> str:
    return with_bounds(Interval(*(float(of[place]) for of in (one.estimate, one.low, one.high))))


def _of_rounds(found: dict[str, Revision]) -> Iterator[Block]:
    return table(
        (
            {
                "run": name,
                "rounds of revision": f"{one.rounds:,}",
                "right at first": percent(one.first),
                "right at last": percent(one.last),
                "mended": with_bounds(one.mended),
                "spoilt": with_bounds(one.spoilt),
                "limit of more rounds": with_bounds(one.limit),
                "rounds to saturation (N*)": with_bounds(one.point, whole),
                "most rounds of a text": f"{one.most:,}",
                "points of the last doubling, seen": with_bounds(one.last_doubling, points),
                "of the next, foretold": with_bounds(one.next_doubling, points),
            }
            for name, one in found.items()
        ),
        "Mended are wrong answers that a round makes right, spoilt are right ones that it makes wrong. The paper's "
        "chain has none of the latter; with both, accuracy tends to mended / (mended + spoilt), if every round has the "
        f"same chances, and from N* on another round gains {EPSILON:.1%} or less (0 where rounds lose). In parentheses "
        "95% intervals over problems.",
    )


SECTION = ReportSection(
    "Saturation",
    100,
    _make,
    (
        "arXiv 2505.20522; intervals, misfit and spoilt answers are added here",
        "arXiv 2310.20447, the prior of its program, by importance sampling in place of a network",
    ),
)
