"""Conclusions from a judge's verdicts and confusion matrix: shares of right completions, and rankings of runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import NamedTuple

import numpy as np

from intact._base.errors import ParameterError
from intact.evaluate.report.blocks import Block, Paragraph, table
from intact.evaluate.report.formatting import percent, with_bounds
from intact.evaluate.report.sections.base import (
    MIXED,
    Arms,
    Drawn,
    OmittedError,
    ReportSection,
    SectionBody,
    by_run,
    measure_each,
    of_samples,
    omission_notes,
    require,
)
from intact.evaluate.report.sections.checkers import Judged, checkers_of, counts_of
from intact.stats.checks import Floats
from intact.stats.intervals import SHARES, Interval
from intact.stats.judges import order_chances

_RESAMPLES = 2_000
_FIRST = 2
"""Completions per problem that rankings use: one that is judged, and one whose truth is known."""
_Counts = tuple[tuple[int, int], tuple[int, int]]


class JudgeFindings(NamedTuple):
    """A binary judge on the completions of one run.

    Attributes
    ----------
    problems : int
        Problems of which it judged all completions.
    accepted_right, accepted_wrong : float
        The shares of right and of wrong completions that it accepts.
    seen, corrected, truth : float, Interval, float
        The share of accepted completions; the share of right ones inferred from it, using the confusion matrix of the
        other half of the problems; the true share of right ones.
    levels : pair of int
        Counts over the problems' first completions: rejected, accepted.
    gold : two rows of two
        Counts over the problems' second completions in the same columns; wrong in the first row, right in the second.
    """

    problems: int
    accepted_right: float
    accepted_wrong: float
    seen: float
    corrected: Interval
    truth: float
    levels: tuple[int, int]
    gold: _Counts


class OrderFinding(NamedTuple):
    """Two runs under one judge: the probability that the first is better given the verdicts, and their true shares."""

    judge: str
    first: str
    second: str
    chance: float
    right: tuple[float, float]


def measure(samples: Drawn) -> dict[str, JudgeFindings]:
    """Measure each judge of a run's completions."""
    judges = dict(checkers_of(samples))
    if not judges:
        raise OmittedError("it does not record at least two texts with a verdict or reward for each problem")
    found, lacking = measure_each(judges, partial(_findings, samples))
    require(found, lacking)
    return found


def _findings(samples: Drawn, judged: Judged) -> JudgeFindings:
    accepted = {name: own for name, own in judged.items() if len(own) >= _FIRST}
    tally = counts_of(samples, accepted)
    if tally.mixed < 2 * MIXED:
        raise OmittedError(f"fewer than {2 * MIXED} of its judged problems have right texts, or fewer have wrong ones")
    table, problems = np.array(tally, np.float64), len(accepted)
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(problems, np.full(problems, 1 / problems), _RESAMPLES).astype(np.float64)
    spread = _corrected(table, drawn)
    spread = spread[np.isfinite(spread)]
    estimate = float(_corrected(table, np.ones((1, problems)))[0])
    if not np.isfinite(estimate) or spread.size < 0.95 * _RESAMPLES:
        raise OmittedError("its verdicts on right and on wrong texts do not differ, so nothing follows from them")
    low, high = np.quantile(spread, (0.025, 0.975)).tolist()
    first = [own[0] for own in accepted.values()]
    gold = [[0, 0], [0, 0]]
    for name, own in accepted.items():
        gold[bool(samples[name][1].correct)][own[1]] += 1
    counts, right, hits, flukes = map(sum, tally)
    return JudgeFindings(
        problems,
        hits / right,
        flukes / (counts - right),
        (hits + flukes) / counts,
        corrected=Interval(estimate, low, high).within(SHARES),
        truth=right / counts,
        levels=(len(first) - sum(first), sum(first)),
        gold=((gold[0][0], gold[0][1]), (gold[1][0], gold[1][1])),
    )


def _corrected(table: Floats, weights: Floats) -> Floats:
    """Return the Rogan-Gladen estimate of the share of right completions, for each row of weights of problems.

    The confusion of each half of the problems is measured on the other half; nan where the judge is uninformative.
    """
    halves = np.arange(table.shape[1]) % 2 == np.arange(2)[:, None]
    sums = np.einsum("rp,hp,tp->htr", weights, halves.astype(np.float64), table)
    counts, right, hits, flukes = sums.transpose(1, 0, 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        hit, fluke = (hits / right)[::-1], (flukes / (counts - right))[::-1]
        shares = np.where(hit > fluke, ((hits + flukes) / counts - fluke) / (hit - fluke), np.nan)
    return np.asarray((shares * counts).sum(axis=0) / counts.sum(axis=0))


def _orders(found: Mapping[str, Mapping[str, JudgeFindings]]) -> Iterator[OrderFinding]:
    """Yield the ranking of every pair of runs by the verdicts of each judge that judged both."""
    for one, other in combinations(found, 2):
        for judge in found[one].keys() & found[other].keys():
            a, b = found[one][judge], found[other][judge]
            try:
                chances = order_chances([a.levels, b.levels], np.array(a.gold) + np.array(b.gold))
            except ParameterError:
                continue  # no judge that prefers right texts agrees with the verdicts
            yield OrderFinding(judge, one, other, chances.above(0, 1), right=(a.truth, b.truth))


def _make(arms: Arms) -> SectionBody:
    found, lacking = by_run(arms, of_samples(measure))
    require(found, lacking)
    orders = sorted(_orders(found))
    numbers = {
        name: {"judges": of, "orders": [one for one in orders if one.first == name]} for name, of in found.items()
    }
    return SectionBody([*_show(found, orders), *omission_notes(lacking)], numbers)


def _show(found: Mapping[str, Mapping[str, JudgeFindings]], orders: Sequence[OrderFinding]) -> Iterator[Block]:
    yield from table(
        {
            "run": name,
            "judge": judge,
            "problems": f"{one.problems:,}",
            "right texts accepted": percent(one.accepted_right),
            "wrong ones": percent(one.accepted_wrong),
            "accepted": percent(one.seen),
            "right by the correction": with_bounds(one.corrected),
            "right": percent(one.truth),
        }
        for name, of in found.items()
        for judge, one in of.items()
    )
    for order in orders:
        yield Paragraph(
            f"By {order.judge} alone, {order.first} is better than {order.second} with a chance of "
            f"{percent(order.chance)}; of their texts {' and '.join(map(percent, order.right))} are right."
        )
    yield Paragraph(
        "The share that a judge accepts is not the share that is right. If it treats texts alike, whatever the "
        "problem and the run, the second follows from the first and from its confusion, here measured on the other "
        "half of the problems; where the last two columns differ by more than chance, it does not treat them "
        "alike. Orders count one text of each problem, and measure the confusion on another. With two levels they "
        "can be told; with three or more no number of verdicts need tell them, so that verdicts with more are "
        "read as two, from 1/2 on. In parentheses 95% intervals, by resampling problems."
    )


SECTION = ReportSection(
    "Conclusions from judges", 170, _make, ("arXiv 2505.21972", "the correction: Rogan and Gladen 1978, halves in turn")
)
