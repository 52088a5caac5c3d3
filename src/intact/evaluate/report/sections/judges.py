"""Conclusions that a judge's confusion allows: shares of right texts, and orders of runs, by verdicts alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from intact._base.errors import ParameterError
from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import Block, Paragraph, Table
from intact.evaluate.report.formatting import percent, with_bounds
from intact.evaluate.report.sections.base import (
    MIXED,
    Omission,
    ReportSection,
    SectionBody,
    by_run,
    drawn_samples,
    join_reasons,
    measured,
    omission_notes,
)
from intact.evaluate.report.sections.checkers import Judged, checkers_of, counts_of
from intact.evaluate.results import ItemSample
from intact.stats.checks import Floats
from intact.stats.intervals import SHARES, Interval
from intact.stats.judges import order_chances

_RESAMPLES = 2_000
_FIRST = 2
"""Texts of a problem that tell of orders: one that is judged, and one whose truth is known."""
_Counts = tuple[tuple[int, int], tuple[int, int]]


class JudgeFindings(NamedTuple):
    """A judge of two levels on the texts of one run.

    Attributes
    ----------
    problems : int
        Those of which it judged all texts.
    accepted_right, accepted_wrong : float
        The shares of right and of wrong texts that it accepts.
    seen, corrected, truth : float, Interval, float
        The share of texts that it accepts; the share of right ones that follows, its confusion being measured on the
        other half of the problems; the share of right ones.
    levels : pair of int
        The first texts of problems that it rejects, and that it accepts.
    gold : two rows of two
        The second texts: wrong ones and right ones, by the same.
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
    """Two runs by one judge: the chance that the first is better, by verdicts alone, and the shares right."""

    judge: str
    first: str
    second: str
    chance: float
    right: tuple[float, float]


def measure(samples: Mapping[str, Sequence[ItemSample]]) -> dict[str, JudgeFindings] | Omission:
    """Measure each judge of a run's texts."""
    found: dict[str, JudgeFindings] = {}
    reasons: dict[str, str] = {}
    for judge, accepted in checkers_of(samples):
        one = _findings(samples, {name: judged for name, judged in accepted.items() if len(judged) >= _FIRST})
        if isinstance(one, Omission):
            reasons[judge] = one.because
        else:
            found[judge] = one
    if found or not reasons:
        return found or Omission("no verdict or reward is recorded of all texts of its problems, two or more of each")
    return join_reasons(reasons)


def _findings(samples: Mapping[str, Sequence[ItemSample]], accepted: Judged) -> JudgeFindings | Omission:
    tally = counts_of(samples, accepted)
    if tally.mixed < 2 * MIXED:
        return Omission(f"fewer than {2 * MIXED} problems that it judged have right texts, or fewer have wrong ones")
    table, problems = np.array(tally, np.float64), len(accepted)
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(problems, np.full(problems, 1 / problems), _RESAMPLES).astype(np.float64)
    spread = _corrected(table, drawn)
    spread = spread[np.isfinite(spread)]
    estimate = float(_corrected(table, np.ones((1, problems)))[0])
    if not np.isfinite(estimate) or spread.size < 0.95 * _RESAMPLES:
        return Omission("its verdicts on right and on wrong texts do not differ, so that nothing follows from them")
    low, high = np.quantile(spread, (0.025, 0.975)).tolist()
    first = [judged[0] for judged in accepted.values()]
    gold = [[0, 0], [0, 0]]
    for name, judged in accepted.items():
        gold[bool(samples[name][1].correct)][judged[1]] += 1
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
    """Return the share of right texts by Rogan and Gladen's estimate, for each row of weights of problems.

    The confusion comes of the other half of the problems, each half in turn; nan where the judge tells nothing there.
    """
    halves = np.arange(table.shape[1]) % 2 == np.arange(2)[:, None]
    sums = np.einsum("rp,hp,tp->htr", weights, halves.astype(np.float64), table)
    counts, right, hits, flukes = sums.transpose(1, 0, 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        hit, fluke = (hits / right)[::-1], (flukes / (counts - right))[::-1]
        shares = np.where(hit > fluke, ((hits + flukes) / counts - fluke) / (hit - fluke), np.nan)
    return np.asarray((shares * counts).sum(axis=0) / counts.sum(axis=0))


def _orders(found: Mapping[str, Mapping[str, JudgeFindings]]) -> Iterator[OrderFinding]:
    """Yield for each judge and every two runs of which it judged the texts their order by verdicts alone."""
    for one, other in combinations(found, 2):
        for judge in found[one].keys() & found[other].keys():
            a, b = found[one][judge], found[other][judge]
            try:
                chances = order_chances([a.levels, b.levels], np.array(a.gold) + np.array(b.gold))
            except ParameterError:
                continue  # no judge that prefers right texts agrees with the verdicts
            yield OrderFinding(judge, one, other, chances.above(0, 1), right=(a.truth, b.truth))


def _make(arms: Sequence[ReportArm]) -> SectionBody | Omission:
    found, lacking = by_run(arms, lambda arm: measured(drawn_samples(arm), measure))
    if not found:
        return join_reasons(lacking)
    rows = [
        [
            name, judge, f"{one.problems:,}", percent(one.accepted_right), percent(one.accepted_wrong),
            percent(one.seen), with_bounds(*one.corrected), percent(one.truth),
        ]
        for name, of in found.items()
        for judge, one in of.items()
    ]  # fmt: skip
    head = [
        "run", "judge", "problems", "right texts accepted", "wrong ones", "accepted", "right by the correction",
        "right",
    ]  # fmt: skip
    orders = sorted(_orders(found))
    blocks: list[Block] = [Table(head, rows)]
    blocks += [
        Paragraph(
            f"By {one.judge} alone, {one.first} is better than {one.second} with a chance of {percent(one.chance)}; "
            f"of their texts {percent(one.right[0])} and {percent(one.right[1])} are right."
        )
        for one in orders
    ]
    blocks.append(
        Paragraph(
            "The share that a judge accepts is not the share that is right. If it treats texts alike, whatever the "
            "problem and the run, the second follows from the first and from its confusion, here measured on the other "
            "half of the problems; where the last two columns differ by more than chance, it does not treat them "
            "alike. Orders count one text of each problem, and measure the confusion on another. With two levels they "
            "can be told; with three or more no number of verdicts need tell them, so that verdicts with more are "
            "read as two, from 1/2 on. In parentheses 95% intervals, by resampling problems."
        )
    )
    numbers = {
        name: {"judges": of, "orders": [one for one in orders if one.first == name]} for name, of in found.items()
    }
    return SectionBody([*blocks, *omission_notes(lacking)], numbers)


SECTION = ReportSection(
    "Conclusions from judges", _make, ("arXiv 2505.21972", "the correction: Rogan and Gladen 1978, halves in turn")
)
