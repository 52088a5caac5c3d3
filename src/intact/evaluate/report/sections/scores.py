"""The scores of all runs with their intervals, and what the runs warn of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from intact.evaluate.report.arms import ReportArm, runs_of
from intact.evaluate.report.blocks import Paragraph, Table
from intact.evaluate.report.formatting import bounds, percent
from intact.evaluate.report.sections.base import ReportSection, SectionBody
from intact.evaluate.results import was_cut


def _scores(arms: Sequence[ReportArm]) -> Table:
    rows = []
    for arm in arms:
        passed, voted = arm.curve("pass@"), arm.curve("majority@")
        chosen = [score for score in arm.scores if "@" not in score.metric]
        for score in [*chosen, *passed[:1], *passed[1:][-1:], *voted[-1:]]:
            count = score.metric == "tokens"
            value = f"{score.value:,.0f}" if count else percent(score.value)
            between = bounds(score.low, score.high, "{:,.0f}".format if count else percent)
            rows.append([arm.name, arm.label, score.metric, value, between, score.interval, f"{score.problems:,}"])
    return Table(["run", "task", "metric", "value", "95% interval", "interval by", "problems"], rows)


def caveats_of(arms: Sequence[ReportArm]) -> Iterator[Paragraph]:
    """Yield what the runs warn of: failures, spent budgets, chosen texts that were cut, absent fields, caveats."""
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


def _make(arms: Sequence[ReportArm]) -> SectionBody:
    numbers = {f"{arm.name}, {arm.label}": arm.scores for arm in arms}
    return SectionBody([_scores(arms), *caveats_of(arms)], numbers)


SECTION = ReportSection(
    "Scores",
    _make,
    ("pass@k: arXiv 2107.03374", "intervals of shares: Wilson 1927", "t over problems: arXiv 2411.00640"),
    all_tasks=True,
)
