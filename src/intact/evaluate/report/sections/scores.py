"""The scores of all runs with their intervals, and warnings about the runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from intact.evaluate.report.arms import ReportArm, runs_of
from intact.evaluate.report.blocks import Block, Paragraph, table
from intact.evaluate.report.formatting import bounds, percent, whole
from intact.evaluate.report.sections.base import Arms, ReportSection, SectionBody
from intact.evaluate.results import TaskScore, was_cut


def _main_scores(arm: ReportArm) -> list[TaskScore]:
    """Return the scores of a run without the inner points of its curves."""
    passed, voted = arm.curve("pass@"), arm.curve("majority@")
    chosen = [score for score in arm.scores if "@" not in score.metric]
    return [*chosen, *passed[:1], *passed[1:][-1:], *voted[-1:]]


def _table(arms: Arms) -> Iterator[Block]:
    return table(
        {
            "run": arm.name,
            "task": arm.label,
            "metric": score.metric,
            "value": form(score.value),
            "95% interval": bounds(score.low, score.high, form),
            "interval by": score.interval,
            "problems": f"{score.problems:,}",
        }
        for arm in arms
        for score in _main_scores(arm)
        for form in [whole if score.metric == "tokens" else percent]
    )


def caveats_of(arms: Arms) -> Iterator[Paragraph]:
    """Yield warnings about runs: failures, exhausted budgets, truncated chosen completions, missing fields, caveats."""
    for path, run in runs_of(arms).items():
        for why, words in (("failed", "failed"), ("spent", "had spent their budget or context")):
            count = sum(record.why == why for record in run.records)
            if count:
                yield Paragraph(f"{path.name}: {count} of {len(run.records)} problems {words}.", True)
        chosen = [record.samples[record.chosen] for record in run.records if record.chosen is not None]
        cut = Counter(one.why for one in chosen if was_cut(one.why, one.other_prompt))
        if cut:
            whys = ", ".join(f"{why} {count}" for why, count in sorted(cut.items()))
            yield Paragraph(
                f"{path.name}: {cut.total()} of {len(chosen)} chosen texts were cut before their end ({whys}).", True
            )
        if run.missing:
            lacks = f"of version {run.version} of the format, and lacks {', '.join(run.missing)}"
            yield Paragraph(f"{path.name} is {lacks}.", True)
        for caveat in run.manifest["caveats"]:
            yield Paragraph(f"{path.name}: {caveat}", True)


def _make(arms: Arms) -> SectionBody:
    numbers = {f"{arm.name}, {arm.label}": arm.scores for arm in arms}
    return SectionBody([*_table(arms), *caveats_of(arms)], numbers)


SECTION = ReportSection(
    "Scores",
    20,
    _make,
    ("pass@k: arXiv 2107.03374", "intervals of shares: Wilson 1927", "t over problems: arXiv 2411.00640"),
    all_tasks=True,
)
