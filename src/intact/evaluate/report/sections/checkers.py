"""The accuracy that resampling until a checker accepts can reach, for each checker that judged the completions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from intact.evaluate.report.blocks import Block, Paragraph, table
from intact.evaluate.report.formatting import percent, with_bounds
from intact.evaluate.report.sections.base import MIXED, Arms, Drawn, OmittedError, of_samples, section_by_run
from intact.stats.laws.resampling import MOST, BestAttempts, ResamplingLimits, resampling_limits

_QUARTILES = (0.25, 0.5, 0.75)
Judged = Mapping[str, Sequence[bool]]
"""The samples that a checker accepted, by problem."""


def checkers_of(samples: Drawn) -> Iterator[tuple[str, Judged]]:
    """Yield each checker with the samples it accepted, on the problems where it judged every sample.

    A completion is accepted by verdicts if the mean of the readable ones is at least 1/2, and rejected if none is
    readable. If all rewards are in [0, 1], the threshold is 1/2, with another at 1 if some reach 1; otherwise each
    quartile of the rewards is a threshold.
    """
    every = [one for own in samples.values() for one in own]
    verdict_givers = dict.fromkeys(verdict.by for one in every for verdict in one.verdicts)
    scorers = dict.fromkeys(scorer for one in every for scorer in one.rewards if scorer not in verdict_givers)
    for by in verdict_givers:
        values = {name: [[v.value for v in one.verdicts if v.by == by] for one in own] for name, own in samples.items()}
        accepted = {name: [_mean(given) >= 0.5 for given in own] for name, own in values.items() if all(own)}
        yield f"verdicts of {by}", accepted
    for scorer in scorers:
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
    """Counts by problem: all samples, right samples, accepted right samples, and accepted wrong samples."""

    samples: list[int]
    right: list[int]
    hits: list[int]
    flukes: list[int]

    @property
    def mixed(self) -> int:
        """The smaller of the numbers of problems with a right sample and of problems with a wrong one."""
        return min(sum(map(bool, self.right)), sum(c < n for n, c in zip(self.samples, self.right, strict=True)))


def counts_of(samples: Drawn, accepted: Judged) -> CheckerCounts:
    """Count the samples that a checker accepted, on the problems that it judged."""
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


def measure(samples: Drawn) -> dict[str, ResamplingLimits]:
    """Return the limits of resampling with each checker, on the problems that it judged."""
    found = {}
    why = "no verdict or reward is recorded of all texts of its problems"
    for checker, accepted in checkers_of(samples):
        counts = counts_of(samples, accepted)
        if counts.mixed >= MIXED:
            of = f", on {len(accepted)} of {len(samples)} problems" if len(accepted) < len(samples) else ""
            found[checker + of] = resampling_limits(*counts)
        else:
            why = f"fewer than {MIXED} problems that a checker judged have right texts, or fewer have wrong ones"
    if not found:
        raise OmittedError(why)
    return found


def _show(found: Mapping[str, Mapping[str, ResamplingLimits]], arms: Arms) -> Iterator[Block]:
    limits = {(name, checker): one for name, of in found.items() for checker, one in of.items()}
    called = {key: ", ".join(key) if len(found) > 1 else key[1] for key in limits}
    for key, one in limits.items():
        yield Paragraph(f"{called[key]}: {_sentence(one)}", one.ceiling.high < one.single)
    yield from table(
        (
            {
                "checker": called[key],
                "right ones accepted": with_bounds(one.completeness),
                "wrong ones rejected": with_bounds(one.soundness),
                "one attempt, unchecked": percent(one.single),
                "reachable by resampling": with_bounds(one.ceiling),
                "right among all accepted": percent(one.precision),
                "problems with an accepted text": percent(one.answered),
                "right among the accepted of these": percent(one.right_of_answered),
            }
            for key, one in limits.items()
        ),
        "The most attempts that are worth while, by what a wrong answer costs where a right one earns 1:",
    )
    yield from table(
        (
            {"checker": called[key]} | {f"it costs {-best.fluke:g}": _attempts(best) for best in one.best}
            for key, one in limits.items()
        ),
        "Problems are tried until the checker accepts a text. The more are rejected, the more a problem is one "
        "where wrong texts prevail: that bounds what can be reached, and more attempts than these lose. Rates of "
        "problems are shares of their texts, so that few texts make the bound too low. In parentheses 95% "
        "intervals, by resampling problems.",
    )
    yield from _out_of_reach(limits, called, arms)


def _attempts(best: BestAttempts) -> str:
    return f"{_count(best.attempts)} ({_count(best.low)} to {_count(best.high)})"


def _count(attempts: int) -> str:
    return f"{attempts} or more" if attempts >= MOST else str(attempts)


def _sentence(one: ResamplingLimits) -> str:
    change = "more than" if one.ceiling.low > one.single else "less than" if one.ceiling.high < one.single else "about"
    return (
        f"however often texts are drawn until one is accepted, {with_bounds(one.ceiling)} is the most that can be "
        f"right: {change} the {percent(one.single)} of a single text without it. It lets "
        f"{percent(1 - one.soundness.estimate)} of wrong texts pass."
    )


def _out_of_reach(
    limits: Mapping[tuple[str, str], ResamplingLimits], called: Mapping[tuple[str, str], str], arms: Arms
) -> Iterator[Paragraph]:
    """Name the runs whose single completions are right more often than another run can be with its checker."""
    for (name, checker), one in limits.items():
        for arm in arms:
            score = arm.score("pass@1", "accuracy")
            if arm.name != name and score is not None and score.value > one.ceiling.high:
                words = f"at {percent(score.value)} from its first text, which no number of attempts reaches"
                yield Paragraph(f"{arm.name} is {words} with {called[name, checker]}.")


SECTION = section_by_run(
    "Resampling with a checker",
    160,
    of_samples(measure),
    _show,
    sources=("arXiv 2411.17501, each attempt weighted by the prior share of its problems",),
)
