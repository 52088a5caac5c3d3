"""The first screen of a report, in plain words: what was run, the score, differences, more samples, failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from intact._base.errors import NotInstalledError
from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import Paragraph
from intact.evaluate.report.formatting import bounds, percent, points
from intact.evaluate.report.sections import comparisons, saturation
from intact.evaluate.report.sections.base import ReportSection, SectionBody, once
from intact.reason.problem import CUT

_MOST = 5
"""Most differences in the summary; Comparisons has all."""


def _make(arms: Sequence[ReportArm]) -> SectionBody:
    sentences = [sentence for arm in arms for sentence in _of_arm(arm)]
    numbers = {f"{arm.name}, {arm.label}": _counts(arm) for arm in arms}
    return SectionBody([*map(Paragraph, sentences), *map(Paragraph, _differences(arms))], numbers)


def _counts(arm: ReportArm) -> dict[str, Any]:
    wrong = _wrong_answers(arm)
    tokens = sum(record.cost["tokens"] for record in arm.records)
    return {"problems": len(arm.rates), "answers": len(arm.records), "tokens": tokens, "wrong": wrong}


def _of_arm(arm: ReportArm) -> Iterator[str]:
    model = arm.run.manifest["models"][0]["name"]
    tokens = sum(record.cost["tokens"] for record in arm.records)
    answered = f"{model} answered the {len(arm.rates):,} problems of {arm.label} by {arm.name}"
    yield f"{_progress(arm)}{answered}, {tokens:,} tokens in all. {_score(arm)}"
    more = _more_samples(arm)
    if more:
        yield f"{arm.name}: {more}"
    where = _failures(arm)
    if where:
        yield f"{arm.name}: {where}"


def _progress(arm: ReportArm) -> str:
    """Return how far a run has come that goes on still."""
    planned = arm.run.manifest.get("planned")
    return f"So far, with {len(arm.run.records):,} of {planned:,} answers of the run: " if planned else ""


def _score(arm: ReportArm) -> str:
    score = arm.score("accuracy", "acc")
    if score is None:
        return "Its measures are under Scores."
    between = bounds(score.low, score.high)
    words = f"{percent(score.value)} of the answers are right"
    return f"{words}; for other problems of the same kind, {between} are likely." if between else f"{words}."


def _more_samples(arm: ReportArm) -> str:
    """Return what more samples would buy, if they are independent draws."""
    found = once(arm, saturation.curves_of)
    if not isinstance(found, dict):
        return ""
    parts = []
    vote = found.get("majority@k")
    if vote is not None:
        low, high = vote.last_doubling.low, vote.last_doubling.high
        gained = f"{points(vote.last_doubling.estimate)} points ({bounds(low, high, points)})"
        verdict = "no gain by more is shown" if low <= 0 else "more may still help"
        parts.append(f"the last doubling of samples, to {vote.most}, changed the vote by {gained}: {verdict}")
    if "pass@k" in found:
        one = found["pass@k"]
        parts.append(f"some sample is right for {percent(one.seen)} of the problems")
        twice = saturation.foretold(arm)
        if twice is not None:
            between = bounds(twice.coverage.low, twice.coverage.high)
            parts[-1] += f", with {twice.samples} samples for {percent(twice.coverage.estimate)} ({between}) by the law"
        parts[-1] += ", if one could choose"
    return "; ".join(parts) + "." if parts else ""


def _failures(arm: ReportArm) -> str:
    kinds = _wrong_answers(arm)
    if not kinds:
        return "no answer is wrong."
    parts = ", ".join(f"{count:,} where {kind}" for kind, count in kinds.items())
    return f"{kinds.total():,} answers of {len(arm.records):,} are wrong: {parts}."


def _wrong_answers(arm: ReportArm) -> Counter[str]:
    """Return the number of wrong answers by what went wrong, the most frequent first."""
    kinds = Counter[str]()
    for record in arm.records:
        if record.correct:
            continue
        if record.why != "done":
            kinds["the run failed or had spent its budget"] += 1
        elif record.answer is None:
            kinds["no answer was found in the texts"] += 1
        elif record.chosen is not None and record.samples[record.chosen].why in CUT:
            kinds["the chosen text was cut"] += 1
        elif any(one.correct for one in record.samples):
            kinds["a right sample was there but not chosen"] += 1
        else:
            kinds["no text is right"] += 1
    return Counter(dict(kinds.most_common()))


def _differences(arms: Sequence[ReportArm]) -> Iterator[str]:
    try:
        found = comparisons.differences_of(arms)
    except NotInstalledError:  # which Comparisons says
        return
    for one in found[:_MOST]:
        yield comparisons.in_words(one)


SECTION = ReportSection("In short", _make, all_tasks=True)
