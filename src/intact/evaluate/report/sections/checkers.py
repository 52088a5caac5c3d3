"""The accuracy that resampling until a checker accepts can reach, for each checker that judged the texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

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
from intact.evaluate.results import ItemSample
from intact.stats.laws.resampling import MOST, ResamplingLimits, resampling_limits

_QUARTILES = (0.25, 0.5, 0.75)
Judged = Mapping[str, Sequence[bool]]
"""By problem, which of the samples a checker accepted."""


def checkers_of(samples: Mapping[str, Sequence[ItemSample]]) -> Iterator[tuple[str, Judged]]:
    """Yield the checkers, each with what it accepted, of the problems of which it judged all texts.

    Verdicts accept a text if the mean of those that can be read is 1/2 or more; a text without one is rejected.
    Rewards accept from 1/2 on if all lie in [0, 1], and at 1 if some reach it; else from each of their quartiles on.
    """
    every = [one for own in samples.values() for one in own]
    verdict_givers = dict.fromkeys(verdict.by for one in every for verdict in one.verdicts)
    for by in verdict_givers:
        values = {name: [[v.value for v in one.verdicts if v.by == by] for one in own] for name, own in samples.items()}
        accepted = {name: [_mean(given) >= 0.5 for given in own] for name, own in values.items() if all(own)}
        yield f"verdicts of {by}", accepted
    for scorer in dict.fromkeys(scorer for one in every for scorer in one.rewards):
        if scorer in verdict_givers:
            continue
        judged = {name: own for name, own in samples.items() if all(scorer in one.rewards for one in own)}
        rewards = np.array([one.rewards[scorer] for own in judged.values() for one in own])
        if not rewards.size:
            continue
        unit = rewards.min() >= 0 and rewards.max() <= 1
        bounds = {0.5, *rewards[rewards == 1].tolist()} if unit else set(np.quantile(rewards, _QUARTILES).tolist())
        for at in sorted(bounds):
            accepted = {name: [one.rewards[scorer] >= at for one in own] for name, own in judged.items()}
            yield f"{scorer} from {at:.4g} on", accepted


class CheckerCounts(NamedTuple):
    """Counts by problem: samples, right ones, accepted right ones, accepted wrong ones."""

    samples: list[int]
    right: list[int]
    hits: list[int]
    flukes: list[int]

    @property
    def mixed(self) -> int:
        """The number of problems with right samples, or of those with wrong ones if these are fewer."""
        return min(sum(map(bool, self.right)), sum(c < n for n, c in zip(self.samples, self.right, strict=True)))


def counts_of(samples: Mapping[str, Sequence[ItemSample]], accepted: Judged) -> CheckerCounts:
    """Count what a checker accepted, on the problems that it judged."""
    found = CheckerCounts([], [], [], [])
    for name, judged in accepted.items():
        right = [bool(one.correct) for one in samples[name]]
        hits = sum(yes and good for yes, good in zip(judged, right, strict=True))
        for counts, count in zip(found, (len(right), sum(right), hits, sum(judged) - hits), strict=True):
            counts.append(count)
    return found


def _mean(values: Sequence[float | None]) -> float:
    read = [value for value in values if value is not None]
    return sum(read) / len(read) if read else -1.0


def measure(samples: Mapping[str, Sequence[ItemSample]]) -> dict[str, ResamplingLimits] | Omission:
    """Return what resampling with each checker can reach, on the problems that it judged."""
    found = {}
    few = False
    for checker, accepted in checkers_of(samples):
        counts = counts_of(samples, accepted)
        if counts.mixed < MIXED:
            few = True
            continue
        of = f", on {len(accepted)} of {len(samples)} problems" if len(accepted) < len(samples) else ""
        found[checker + of] = resampling_limits(*counts)
    if few and not found:
        return Omission(f"fewer than {MIXED} problems that a checker judged have right texts, or fewer have wrong ones")
    return found or Omission("no verdict or reward is recorded of all texts of its problems")


def _make(arms: Sequence[ReportArm]) -> SectionBody | Omission:
    found, lacking = by_run(arms, lambda arm: measured(drawn_samples(arm), measure))
    if not found:
        return join_reasons(lacking)
    limits = {(name, checker): one for name, of in found.items() for checker, one in of.items()}
    several = len(found) > 1
    called = {key: f"{key[0]}, {key[1]}" if several else key[1] for key in limits}
    blocks: list[Block] = [
        Paragraph(f"{called[key]}: {_sentence(one)}", one.ceiling.high < one.single) for key, one in limits.items()
    ]
    head = [
        "checker", "right ones accepted", "wrong ones rejected", "one attempt, unchecked", "reachable by resampling",
        "right among all accepted", "problems with an accepted text", "right among the accepted of these",
    ]  # fmt: skip
    rows = [
        [
            called[key], with_bounds(*one.completeness), with_bounds(*one.soundness), percent(one.single),
            with_bounds(*one.ceiling), percent(one.precision), percent(one.answered), percent(one.right_of_answered),
        ]
        for key, one in limits.items()
    ]  # fmt: skip
    costs = [best.fluke for best in next(iter(limits.values())).best]
    attempts = [
        [called[key], *[f"{_count(best.attempts)} ({_count(best.low)} to {_count(best.high)})" for best in one.best]]
        for key, one in limits.items()
    ]
    blocks += [
        Table(head, rows),
        Paragraph("The most attempts that are worth while, by what a wrong answer costs where a right one earns 1:"),
        Table(["checker", *[f"it costs {-cost:g}" for cost in costs]], attempts),
        Paragraph(
            "Problems are tried until the checker accepts a text. The more are rejected, the more a problem is one "
            "where wrong texts prevail: that bounds what can be reached, and more attempts than these lose. Rates of "
            "problems are shares of their texts, so that few texts make the bound too low. In parentheses 95% "
            "intervals, by resampling problems."
        ),
    ]
    blocks += _out_of_reach(limits, called, arms)
    return SectionBody([*blocks, *omission_notes(lacking)], found)


def _count(attempts: int) -> str:
    return f"{attempts} or more" if attempts >= MOST else str(attempts)


def _sentence(one: ResamplingLimits) -> str:
    change = "more than" if one.ceiling.low > one.single else "less than" if one.ceiling.high < one.single else "about"
    return (
        f"however often texts are drawn until one is accepted, {with_bounds(*one.ceiling)} is the most that can be "
        f"right: {change} the {percent(one.single)} of a single text without it. It lets "
        f"{percent(1 - one.soundness.estimate)} of wrong texts pass."
    )


def _out_of_reach(
    limits: Mapping[tuple[str, str], ResamplingLimits], called: Mapping[tuple[str, str], str], arms: Sequence[ReportArm]
) -> Iterator[Paragraph]:
    """Name the runs whose single texts are right more often than a checker lets another run become."""
    for (name, checker), one in limits.items():
        for arm in arms:
            score = arm.score("pass@1", "accuracy")
            if arm.name != name and score is not None and score.value > one.ceiling.high:
                words = f"at {percent(score.value)} from its first text, which no number of attempts reaches"
                yield Paragraph(f"{arm.name} is {words} with {called[name, checker]}.")


SECTION = ReportSection(
    "Resampling with a checker", _make, ("arXiv 2411.17501, each attempt weighted by the prior share of its problems",)
)
