"""The summary at the top of a report: runs, scores, differences, the benefit of more samples, failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from intact._base.errors import NotInstalledError, ParameterError
from intact.evaluate.report.arms import ReportArm
from intact.evaluate.report.blocks import Paragraph
from intact.evaluate.report.formatting import bounds, percent, points, with_bounds
from intact.evaluate.report.sections import comparisons, saturation
from intact.evaluate.report.sections.base import Arms, ReportSection, SectionBody
from intact.evaluate.results import ItemRecord
from intact.reason.problem import CUT

_MOST = 5
"""Maximum number of differences in the summary; Comparisons lists all."""


def _make(arms: Arms) -> SectionBody:
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
    if more := _more_samples(arm):
        yield f"{arm.name}: {more}"
    yield f"{arm.name}: {_failures(arm)}"


def _progress(arm: ReportArm) -> str:
    """Return the progress of a run that is not complete."""
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
    """Return the benefit of more samples; an empty text unless samples are independent draws."""
    try:
        found = saturation.curves_of(arm)
    except ParameterError:
        return ""
    parts = []
    if vote := found.get("majority@k"):
        gain = vote.last_doubling
        gained = f"{points(gain.estimate)} points ({bounds(gain.low, gain.high, points)})"
        verdict = "no gain by more is shown" if gain.low <= 0 else "more may still help"
        parts.append(f"the last doubling of samples, to {vote.most}, changed the vote by {gained}: {verdict}")
    if coverage := found.get("pass@k"):
        twice = saturation.foretold(arm)
        more = f", with {twice.samples} samples for {with_bounds(twice.coverage)} by the law" if twice else ""
        parts.append(f"some sample is right for {percent(coverage.seen)} of the problems{more}, if one could choose")
    return "; ".join(parts) + "."


def _failures(arm: ReportArm) -> str:
    kinds = _wrong_answers(arm)
    if not kinds:
        return "no answer is wrong."
    parts = ", ".join(f"{count:,} where {kind}" for kind, count in kinds.items())
    return f"{kinds.total():,} answers of {len(arm.records):,} are wrong: {parts}."


def _wrong_answers(arm: ReportArm) -> Counter[str]:
    """Return the number of wrong answers by cause, the most frequent first."""
    kinds = Counter(_cause(record) for record in arm.records if not record.correct)
    return Counter(dict(kinds.most_common()))


def _cause(record: ItemRecord) -> str:
    """Return why an answer is wrong."""
    if record.why != "done":
        return "the run failed or had spent its budget"
    if record.answer is None:
        return "no answer was found in the texts"
    if record.chosen is not None and record.samples[record.chosen].why in CUT:
        return "the chosen text was cut"
    return (
        "a right sample was there but not chosen" if any(one.correct for one in record.samples) else "no text is right"
    )


def _differences(arms: Arms) -> Iterator[str]:
    try:
        found = comparisons.differences_of(arms)
    except NotInstalledError:  # the section Comparisons reports it
        return
    yield from map(comparisons.in_words, found[:_MOST])


SECTION = ReportSection("In short", 10, _make, all_tasks=True)
