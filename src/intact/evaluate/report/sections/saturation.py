"""The number of samples, and of rounds of revision, from which more hardly help."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from intact._base.errors import IntactError, ParameterError
from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import Block, Paragraph, Table
from intact.evaluate.report.formatting import bounds, percent, points, settled, with_bounds
from intact.evaluate.report.sections.base import (
    MIXED,
    Omission,
    ReportSection,
    SectionBody,
    by_run,
    drawn_samples,
    join_reasons,
    omission_notes,
    once,
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
"""The gain of accuracy by one more sample below which sampling is said to be saturated, as in the paper."""
_POOR = 0.01
"""The root mean square of residuals from which a fit is called poor."""
_DRAWS = 100_000
"""Draws of the prior for a forecast."""
_EFFECTIVE = 100
"""The fewest effective draws from which a forecast is shown."""


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
    """Coverage at twice the samples that were drawn, by the law of the section Scaling."""

    samples: int
    coverage: Interval


class Revision(NamedTuple):
    """The chances of a round of revision.

    Attributes
    ----------
    mended, spoilt : Interval
        The shares of wrong answers that become right in a round, and of right ones that become wrong.
    limit, point, last_doubling, next_doubling : Interval
        As in `SequentialSaturation`.
    first, last
        The shares of right answers before the first round and after the last.
    rounds : int
        Rounds that were seen, over all drafts.
    most : int
        The most rounds of a draft.
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


def seen_curves(arm: ReportArm) -> SeenCurves | Omission:
    """Return coverage and the vote of each problem of a run, at powers of two and at half of all its samples."""
    samples = drawn_samples(arm)
    if isinstance(samples, Omission):
        return samples
    count = min(map(len, samples.values()))
    numbers = sorted({*curve(count), max(count // 2, 1)})
    if len(numbers) < 3 or len(samples) < MIXED:
        return Omission(f"a law of saturation needs 4 samples of each of {MIXED} problems")
    verdicts = [[bool(one.correct) for one in own[:count]] for own in samples.values()]
    answers = [[one.answer for one in own[:count]] for own in samples.values()]
    right = [sum(own) for own in verdicts]
    tables = {
        "pass@k": np.array([pass_at_k(count, right, k) for k in numbers]).T,
        "majority@k": np.array([majority_at_k(answers, verdicts, k) for k in numbers]).T,
    }
    return SeenCurves(numbers, tables)


def curves_of(arm: ReportArm) -> dict[str, SaturationInterval] | Omission:
    """Fit the model of saturation to coverage and to the vote of a run."""
    curves = once(arm, seen_curves)
    if isinstance(curves, Omission):
        return curves
    found, reasons = {}, []
    for name, values in curves.values.items():
        try:
            found[name] = saturation_interval(curves.numbers, values, EPSILON)
        except ParameterError as error:
            reasons.append(f"{name}: {error}")
    return found or Omission("; ".join(reasons))


def forecasts_of(arm: ReportArm) -> dict[str, CurveForecast | Omission]:
    """Forecast coverage and the vote at two and four times the samples drawn, by the prior of LC-PFN."""
    curves = once(arm, seen_curves)
    if isinstance(curves, Omission):
        return {}
    found: dict[str, CurveForecast | Omission] = {}
    for name, values in curves.values.items():
        try:
            one = forecast_curve(curves.numbers, values, [2 * curves.numbers[-1], 4 * curves.numbers[-1]], draws=_DRAWS)
        except ParameterError as error:
            found[name] = Omission(str(error))
            continue
        few = f"only {one.effective:,.0f} of {one.draws:,} draws of the prior count, and {_EFFECTIVE} are needed"
        found[name] = one if one.effective >= _EFFECTIVE else Omission(few)
    return found


def foretold(arm: ReportArm) -> Foretold | None:
    """Return what twice the samples would cover; None if no law can be fitted."""
    try:
        law = arm.law
    except IntactError:
        return None
    twice = 2 * int(arm.counts[0].max())
    at = int(np.flatnonzero(law.k == twice)[0])
    return Foretold(twice, Interval(float(law.coverage[at]), float(law.low[at]), float(law.high[at])))


def revision_of(arm: ReportArm) -> Revision | Omission:
    """Count what rounds of revision mend and spoil, by problem."""
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
        return Omission(f"fewer than {MIXED} problems have wrong answers that were revised, or fewer have right ones")
    mended = share_of_samples([sum(not before and after for before, after in own) for own in rounds.values()], wrong)
    spoilt = share_of_samples([sum(before and not after for before, after in own) for own in rounds.values()], right)
    chain = sequential_saturation(
        [[[bool(turn.correct) for turn in draft] for draft in own] for own in drafts.values()], EPSILON
    )
    every = [draft for own in drafts.values() for draft in own]
    first, last = ([bool(draft[place].correct) for draft in every] for place in (0, -1))
    shares = float(np.mean(first)), float(np.mean(last))
    return Revision(
        mended, spoilt, chain.limit, chain.point, chain.last_doubling, chain.next_doubling, *shares,
        sum(map(len, rounds.values())), chain.most,
    )  # fmt: skip


def _make(arms: Sequence[ReportArm]) -> SectionBody | Omission:
    sampled, lacking = by_run(arms, lambda arm: once(arm, curves_of))
    revised, _ = by_run(arms, revision_of)
    if not sampled and not revised:
        return join_reasons(lacking)
    doubled = {arm.name: foretold(arm) for arm in arms if arm.name in sampled}
    forecasts = {arm.name: found for arm in arms if (found := forecasts_of(arm))}
    blocks = [*_of_samples(sampled, doubled), *_of_forecasts(forecasts), *_of_rounds(revised)]
    notes = omission_notes({name: why for name, why in lacking.items() if name not in revised})
    numbers = {
        name: {
            "samples": sampled.get(name, {}),
            "foretold": doubled.get(name),
            "forecasts": forecasts.get(name, {}),
            "rounds": revised.get(name),
        }
        for name in [*sampled, *revised]
    }
    return SectionBody([*blocks, *notes], numbers)


def _of_samples(
    found: dict[str, dict[str, SaturationInterval]], doubled: dict[str, Foretold | None]
) -> Iterator[Block]:
    if not found:
        return
    rows = [
        [
            name, kind, percent(one.seen), with_bounds(*one.last_doubling, form=points),
            with_bounds(*one.next_doubling, form=points), with_bounds(*one.f_max),
            with_bounds(*one.point, form=_whole), f"{settled(100 * one.model.error):.1f}",
        ]
        for name, of in found.items()
        for kind, one in of.items()
    ]  # fmt: skip
    head = [
        "run", "curve", "seen at the most samples", "points of the last doubling, seen", "of the next, foretold",
        "limit", "samples to saturation (N*)", "misfit in points",
    ]  # fmt: skip
    yield Table(head, rows)
    yield Paragraph(
        f"A law F(N) = F_max (1 - (1 - p)^N) is fitted to each curve; from N* on another sample gains {EPSILON:.1%} or "
        "less. It takes all problems that can be solved to be equally hard, so that it saturates too soon where hard "
        "ones are left. In parentheses 95% intervals, by resampling problems."
    )
    for name, twice in doubled.items():
        if twice is not None:
            words = f"foretells pass@{twice.samples:,} of {with_bounds(*twice.coverage)}"
            yield Paragraph(f"{name}: the law under Scaling, which lets problems differ, {words}.")
    for name, of in found.items():
        for kind, one in of.items():
            if one.model.error >= _POOR:
                words = f"misses {kind} by {settled(100 * one.model.error):.1f} points on average"
                yield Paragraph(f"{name}: the law {words}; trust the gain seen more than the one foretold.", True)


def _of_forecasts(found: dict[str, dict[str, CurveForecast | Omission]]) -> Iterator[Block]:
    rows = [
        [
            name, kind, *[
                f"{percent(estimate)} ({bounds(low, high)})"
                for estimate, low, high in zip(one.estimate, one.low, one.high, strict=True)
            ], f"{one.effective:,.0f} of {one.draws:,}",
        ]
        for name, of in found.items()
        for kind, one in of.items()
        if isinstance(one, CurveForecast)
    ]  # fmt: skip
    if rows:
        yield Table(["run", "curve", "at twice the samples", "at four times", "effective draws"], rows)
        yield Paragraph(
            "Forecasts by the prior of LC-PFN: a rising curve within 0 and 100% is a sum of three families, and draws "
            "of it are weighted by how well they agree with the curve seen. In parentheses 95% intervals, for other "
            "problems of the same kind. They held the vote about as often in simulations, but pass@k, which rises "
            "longer than this prior expects, in 84% to 93% only: there the law under Scaling says more."
        )
    for name, of in found.items():
        for kind, why in of.items():
            if isinstance(why, Omission):
                yield Paragraph(f"{name}: the forecast of {kind} is not shown, because {why.because}.")


def _of_rounds(found: dict[str, Revision]) -> Iterator[Block]:
    if not found:
        return
    rows = [
        [
            name, f"{one.rounds:,}", percent(one.first), percent(one.last), with_bounds(*one.mended),
            with_bounds(*one.spoilt), with_bounds(*one.limit), with_bounds(*one.point, form=_whole),
            f"{one.most:,}", with_bounds(*one.last_doubling, form=points), with_bounds(*one.next_doubling, form=points),
        ]
        for name, one in found.items()
    ]  # fmt: skip
    head = [
        "run", "rounds of revision", "right at first", "right at last", "mended", "spoilt", "limit of more rounds",
        "rounds to saturation (N*)", "most rounds of a text", "points of the last doubling, seen",
        "of the next, foretold",
    ]  # fmt: skip
    yield Table(head, rows)
    yield Paragraph(
        "Mended are wrong answers that a round makes right, spoilt are right ones that it makes wrong. The paper's "
        "chain has none of the latter; with both, accuracy tends to mended / (mended + spoilt), if every round has the "
        f"same chances, and from N* on another round gains {EPSILON:.1%} or less (0 where rounds lose). In parentheses "
        "95% intervals over problems."
    )


def _whole(value: float) -> str:
    return f"{value:,.0f}"


SECTION = ReportSection(
    "Saturation",
    _make,
    (
        "arXiv 2505.20522; intervals, misfit and spoilt answers are added here",
        "arXiv 2310.20447, the prior of its program, by importance sampling in place of a network",
    ),
)
