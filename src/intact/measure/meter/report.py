"""The report on a run of `intact meter`: a document for HTML, and lines for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from intact.evaluate.report.blocks import Block, Code, Paragraph, Picture, ReportDocument, Section, Table
from intact.evaluate.report.figures import PlotLine, curves
from intact.measure.meter.claim import ModelClaim
from intact.measure.meter.journal import MeterTrial
from intact.measure.meter.summary import DECISIVE, ChangedShare, ConditionShare, MeterSummary

EXAMPLES = 12
"""Number of prompts whose first changed answer a report shows."""


class MeterFacts(NamedTuple):
    """Facts about a run other than its figures.

    Attributes
    ----------
    url, api, model, owner
        The endpoint; `owner` is the engine's name, if the endpoint states it.
    used
        Requests, tokens, seconds and cost of all sessions.
    unmeasured
        Steps that were not measured, with reasons.
    notes
        Fields that the endpoint rejected.
    lines
        Descriptions of the conditions, by name.
    command
        The command that repeats the measurement.
    claim
        The comparison with a model, if one was made.
    """

    url: str
    api: str
    model: str
    owner: str
    used: Mapping[str, float]
    unmeasured: Sequence[tuple[str, str]]
    notes: Sequence[str]
    lines: Mapping[str, str]
    command: str
    claim: ModelClaim | None = None


def verdict(summary: MeterSummary) -> str:
    """Return the result in one sentence."""
    total = summary.total
    if not total.answers:
        return "Nothing could be measured."
    bounds = f"95% interval {percent(total.low)} to {percent(total.high)}"
    if total.changed:
        return f"{total.changed} of {total.answers} answers changed ({percent(total.share)}; {bounds})."
    return f"No answer changed: 0 of {total.answers} (95% interval up to {percent(total.high)})."


def percent(share: float) -> str:
    """Format a share: whole percentages from 10%, two digits below."""
    return f"{share:.0%}" if share >= 0.0995 or not share else f"{100 * share:.2g}%"


def remarks(summary: MeterSummary) -> Iterator[str]:
    """Yield sentences that explain the figures."""
    total, prompts = summary.total, summary.prompts
    if not total.answers:
        return
    yield (
        f"{prompts.changed} of {prompts.answers} prompts got a different answer at least once "
        f"(95% interval {percent(prompts.low)} to {percent(prompts.high)})."
    )
    if total.shifted:
        yield (
            f"In {total.shifted} of the {total.answers - total.changed} unchanged answers, log-probabilities changed: "
            "the endpoint's arithmetic depends on the situation, and other prompts may get other answers."
        )
    if not total.changed:
        yield (
            f"If {percent(summary.detectable)} of the answers changed, this run would have seen it with a probability "
            "of 80%."
        )
    low, high = summary.anytime
    yield (
        f"However often you look and whenever you stop, the share of changed answers lies between {percent(low)} and "
        f"{percent(high)} with a confidence of 95%."
    )
    tolerance = percent(summary.tolerance)
    for evidence, word in ((summary.above, "more"), (summary.below, "fewer")):
        if evidence >= DECISIVE:
            yield f"Evidence that {word} than {tolerance} of the answers change: e-value {evidence:.3g}."
    if max(summary.above, summary.below) < DECISIVE:
        yield (
            f"Undecided whether more than {tolerance} of the answers change: the e-values are {summary.above:.2g} for "
            f"more and {summary.below:.2g} for fewer ({DECISIVE} decides). Continue with --rounds."
        )


def row_of(group: ConditionShare) -> list[str]:
    """Return a group's cells, one per column in `COLUMNS`."""
    share = group.share
    interval = f"{percent(share.low)} to {percent(share.high)}"
    return [group.condition, group.setting, str(share.answers), str(share.changed), interval, str(share.shifted)]


COLUMNS = ("condition", "setting", "answers", "changed", "95% interval", "logprobs only")
"""Columns of the table of conditions; the last is the number of answers in which only log-probabilities changed."""


def changes(trials: Sequence[MeterTrial]) -> list[list[str]]:
    """Return a row for the first changed answer to each of some prompts, one cell per column in `CHANGES`."""
    by_prompt: dict[str, MeterTrial] = {}
    for trial in trials:
        if not trial.comparison.equal:
            by_prompt.setdefault(trial.prompt, trial)
    found = list(by_prompt.values())[:EXAMPLES]
    return [
        [
            trial.prompt,
            f"{trial.condition}, {trial.setting}",
            f"{trial.comparison.unit} {trial.comparison.place}",
            f"{trial.comparison.expected!r} → {trial.comparison.got!r}",
            "" if trial.comparison.gap is None else f"{trial.comparison.gap:.3g}",
            "" if trial.comparison.shift is None else f"{trial.comparison.shift:.2g}",
        ]
        for trial in found
    ]


CHANGES = ("prompt", "situation", "first difference", "alone → here", "gap (nats)", "largest shift before (nats)")


def picture(summary: MeterSummary) -> Picture | None:
    """Plot the share of changed answers against the number of concurrent requests; None without matplotlib."""
    lines = []
    for setting in dict.fromkeys(group.setting for group in summary.groups):
        some = sorted((g.others + 1, g.share) for g in summary.groups if g.setting == setting and g.others is not None)
        if some:
            sizes, shares = zip(*some, strict=True)
            bounds: tuple[ChangedShare, ...] = shares
            low, high = [one.low for one in bounds], [one.high for one in bounds]
            lines.append(PlotLine(setting, sizes, [one.share for one in bounds], low=low, high=high))
    if not lines:
        return None
    svg = curves("meter", lines, "requests at the same time", "answers changed")
    caption = "Share of answers that differ from those to the same prompts asked alone, with 95% intervals."
    return Picture(svg, caption) if svg else None


def document(summary: MeterSummary, trials: Sequence[MeterTrial], facts: MeterFacts) -> ReportDocument:
    """Return the report."""
    return ReportDocument(
        f"Invariance of {facts.model} at {facts.url}",
        [Section(name, blocks) for name, blocks in _sections(summary, trials, facts) if blocks],
    )


def _sections(
    summary: MeterSummary, trials: Sequence[MeterTrial], facts: MeterFacts
) -> Iterator[tuple[str, list[Block]]]:
    total = summary.total
    yield "Result", [Paragraph(verdict(summary), warning=total.changed > 0), *map(Paragraph, remarks(summary))]
    drawn = picture(summary)
    yield "Company", [drawn] if drawn else []
    explained = [[name, line] for name, line in facts.lines.items()]
    yield (
        "Conditions",
        [
            Table(COLUMNS, [row_of(group) for group in summary.groups]),
            Paragraph("Every answer is compared with the answer to the same request, asked alone before."),
            Table(("condition", "the prompt is asked"), explained),
        ],
    )
    rows = changes(trials)
    if rows:
        yield (
            "Changed answers",
            [
                Table(CHANGES, rows),
                Paragraph(
                    f"The first changed answer to each of {len(rows)} prompts. A small gap is a near tie: alone, the "
                    "endpoint found the two tokens about equally likely."
                ),
            ],
        )
    if facts.claim is not None:
        yield "The exact model", [Paragraph(line) for line in claim_lines(facts.claim)]
    if facts.unmeasured or facts.notes:
        listed = [[what, why] for what, why in facts.unmeasured]
        yield "Not measured", [*([Table(("step", "reason"), listed)] if listed else []), *map(Paragraph, facts.notes)]
    yield "Method", [*map(Paragraph, _method(facts)), Code([facts.command])]


def _method(facts: MeterFacts) -> Iterator[str]:
    used = facts.used
    yield (
        f"API {facts.api}, model {facts.model}{f', served by {facts.owner}' if facts.owner else ''}: "
        f"{used['requests']:,.0f} requests, {used['tokens']:,.0f} tokens, {used['seconds']:,.0f} s"
        f"{', cost {:.4g}'.format(used['cost']) if used['cost'] else ''}."
    )
    yield (
        "Intervals are Clopper-Pearson. They treat answers as independent; answers to one prompt are not, so the share "
        "of prompts is the safer figure. Whether the endpoint computed requests together is its own decision: no "
        "change in company may also mean that it queued them."
    )


def claim_lines(claim: ModelClaim) -> Iterator[str]:
    """Yield sentences about the comparison with a model."""
    if claim.greedy and claim.median_place is None:
        yield f"All {claim.greedy} answers at temperature 0 are those of the exact {claim.model}."
    elif claim.greedy:
        yield (
            f"{claim.equal} of {claim.greedy} answers at temperature 0 are those of the exact {claim.model}; the "
            f"others diverge at token {claim.median_place:g} (median)."
        )
    if claim.shift is not None and claim.largest_shift is not None:
        yield (
            f"The log-probabilities of {claim.tokens:,} tokens differ from the exact ones by {claim.shift:.2g} nats on "
            f"average, by {claim.largest_shift:.2g} at most."
        )
    yield f"As answers of {claim.model}, the audit finds them {claim.verdict} ({claim.why})."
