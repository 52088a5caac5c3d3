"""The scores of a run, with confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

from intact._base.exact import integers, significant
from intact.evaluate.results import ItemRecord, TaskScore
from intact.evaluate.samples import direct, own_samples
from intact.stats.choosing_at_k import majority_at_k
from intact.stats.coverage import pass_at_k
from intact.stats.intervals import AMOUNTS, ANY, SHARES, Support, clustered, wilson
from intact.tasks.choose import Chosen
from intact.tasks.likelihood import LikelihoodTask

DIGITS = 10
"""Significant digits of a score, rounded half to even from the nearest double."""


def scores(tasks: Sequence[Chosen], records: Sequence[ItemRecord]) -> tuple[TaskScore, ...]:
    """Return all scores of all tasks.

    Accuracy is the share of the method's answers that are right. If a problem's samples are independent draws, unbiased
    pass@k and majority@k are added for k = 1, 2, 4, .... Intervals are Wilson's if each problem was asked once.
    Otherwise they are Student's t with problems as clusters, since several answers to a problem are not independent; if
    items name their clusters (`Item.cluster`), these are used instead. If all values or all problems are alike, or
    there is only one problem, there is no interval, and the interval's name gives the reason. A task with an undecided
    verdict gets only the scores that need no verdict.
    """
    found: list[TaskScore] = []
    for place, chosen in enumerate(tasks):
        own = [record for record in records if record.task == place]
        if own:
            found += _of_task(place, own, isinstance(chosen.task, LikelihoodTask), tuple(chosen.task.measures))
    return tuple(found)


def check(stated: Sequence[TaskScore], records: Sequence[ItemRecord], *, nearly: bool = False) -> None:
    """Check that scores follow from the records.

    Files of earlier versions may state a lower bound on tokens below 0, because it was not clipped.

    Parameters
    ----------
    nearly : bool
        If true, allow a relative difference of 1e-6: files of version 1 were computed with SciPy and NumPy.

    Raises
    ------
    ValueError
        If a score differs from the result of `scores`.
    """
    for place in sorted({score.task for score in stated}):
        own = [record for record in records if record.task == place]
        given = {score.metric: score for score in stated if score.task == place}
        measures = tuple(name for name in given if own and all(name in record.measures for record in own))
        due = {score.metric: score for score in _of_task(place, own, "acc" in given, measures)} if own else {}
        for metric, score in given.items():
            if score.low is not None and score.low < 0 and metric == "tokens":
                due["tokens"] = _score(place, metric, _tokens(own), own, support=ANY)
            if metric not in due or not (score == due[metric] or (nearly and _alike(score, due[metric]))):
                raise ValueError(f"{metric} of task {place} does not follow from the records: {due.get(metric)}")


def _alike(one: TaskScore, other: TaskScore) -> bool:
    """Return true if two scores are the same up to the last digits, which depend on a library's order of summation."""
    pairs = zip((one.value, one.low, one.high), (other.value, other.low, other.high), strict=True)
    near = all(a == b or (a is not None and b is not None and math.isclose(a, b, rel_tol=1e-6)) for a, b in pairs)
    return near and (one.problems, one.interval) == (other.problems, other.interval)


def _of_task(place: int, own: Sequence[ItemRecord], likelihood: bool, measures: Sequence[str]) -> list[TaskScore]:
    figures: dict[str, list[float]] = {}
    if not any(record.undecided for record in own):
        figures["acc" if likelihood else "accuracy"] = [float(bool(record.correct)) for record in own]
        figures |= {name: [float(record.measures[name]) for record in own] for name in measures}
        figures |= dict(_curves(own))
    if not likelihood:
        figures["tokens"] = _tokens(own)
    supports = {"tokens": AMOUNTS}
    return [_score(place, name, values, own, support=supports.get(name, SHARES)) for name, values in figures.items()]


def _tokens(records: Sequence[ItemRecord]) -> list[float]:
    return [float(record.cost["tokens"]) for record in records]


def curve(most: int) -> list[int]:
    """Return the sample counts of a curve: powers of two, and the total."""
    return sorted({*(1 << i for i in range(most.bit_length())), most})


def _curves(records: Sequence[ItemRecord]) -> Iterator[tuple[str, list[float]]]:
    count = direct(records)
    if count < 2:
        return
    drawn = [own_samples(record) for record in records]
    answers = [[sample.answer for sample in samples] for samples in drawn]
    verdicts = [[bool(sample.correct) for sample in samples] for samples in drawn]
    right = [sum(own) for own in verdicts]
    for k in curve(count):
        yield f"pass@{k}", [float(pass_at_k(count, c, k)) for c in right]
    for k in curve(count)[1:]:
        yield f"majority@{k}", majority_at_k(answers, verdicts, k).tolist()


def _score(
    place: int, metric: str, values: Sequence[float], records: Sequence[ItemRecord], support: Support
) -> TaskScore:
    clusters = [record.cluster or record.id for record in records]
    groups, problems = len(set(clusters)), len({record.id for record in records})
    terms, unit = integers(values)
    mean = float(Fraction(sum(terms), unit * len(terms)))
    bounds: tuple[float | None, float | None] = (None, None)
    if support == SHARES and (set(values) <= {0.0, 1.0} if groups == len(values) else set(values) in ({0.0}, {1.0})):
        # if all problems are alike, the spread says nothing about how problems differ
        bounds, how = wilson(round(mean * groups), groups), "Wilson"
    elif len(set(values)) == 1:
        how = "all alike"
    elif groups > 1:
        found = clustered(values, clusters, support=support)
        bounds, how = (found.low, found.high), "t over problems" if groups == problems else "t over clusters"
        if rounded(found.low) == rounded(found.high):  # how problems differ cannot be told where they do not
            bounds, how = (None, None), "problems all alike"
    else:
        how = "one problem" if problems == 1 else "one cluster"
    low, high = (None if bound is None else rounded(bound) for bound in bounds)
    return TaskScore(place, metric, rounded(mean), low, high=high, problems=problems, interval=how)


def rounded(value: float) -> float:
    """Round to the digits of a score, so that the last bits of a library's sum do not show."""
    return significant(value, DIGITS)
