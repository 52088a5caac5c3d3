"""The report of a lab: the table, the plot, the orderings, accuracy, and speed if it was measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from intact.evaluate.report import figures
from intact.evaluate.report.blocks import Block, Paragraph, Picture, ReportDocument, Section, Table
from intact.quantizing.lab.result import LabResult
from intact.quantizing.lab.rows import Ordering, short_name, standings

GAUSSIAN_FACTOR: Final = 4.0
"""The factor by which one bit lowers the minimum possible squared error for Gaussian weights: 4^-bits."""
CAPTION: Final = (
    "KL divergence from the source over bits a weight in memory, with 95% intervals. Named are the specs of the Pareto "
    "front. The grey line falls by a factor of 4 with each bit, as the least squared error of Gaussian weights does; "
    "it runs through the spec nearest to it."
)


def plot(result: LabResult) -> str:
    """Plot KL divergence against bits as SVG; the bytes are reproducible."""
    standing = standings(result.rows)
    points = {
        short_name(row.spec): (row.bits_per_weight, row.kl, row.divergence.low, row.divergence.high)
        for row in result.rows
        if row.kl > 0
    }
    kept = [short_name(row.spec) for row in result.rows if standing[row.spec] == "front" and row.kl > 0]
    return figures.formats("formats", points, kept, GAUSSIAN_FACTOR)


def table(result: LabResult) -> Table:
    """Return the table of all specs by bits per weight; stars mark the front, circles its neighbours."""
    marks = {"front": "*", "neighbour": "o", "dominated": ""}
    standing = standings(result.rows)
    rows = [
        [
            short_name(row.spec), marks[standing[row.spec]], f"{row.bits_per_weight:.2f}",
            f"{row.file_bytes / 1e6:.1f}", f"{row.resident_bytes / 1e6:.1f}", f"{row.kl:.3g}",
            f"{row.divergence.high - row.kl:.2g}", f"{row.same_top:.1%}",
            f"{row.perplexity:.2f}",
        ]
        for row in sorted(result.rows, key=lambda row: (row.bits_per_weight, row.kl))
    ]  # fmt: skip
    rows.append(["source", "", "", "", "", "", "", "", f"{result.source_perplexity:.2f}"])
    head = ("spec", "front", "bits", "file", "memory", "KL", "+-", "top", "PPL")
    return Table(head, rows)


def accuracy_table(result: LabResult) -> Table:
    """Return the accuracies of the source, the front and its neighbours on multiple-choice tasks."""
    source = {one.task: one for one in result.accuracies if one.spec == "source"}
    rows = []
    for one in result.accuracies:
        low, high = one.bounds
        gap, least, most = one.against(source[one.task])
        own = "" if one.spec == "source" else f"{100 * gap:+z.1f} ({100 * least:+z.1f} to {100 * most:+z.1f})"
        name = one.spec if one.spec == "source" else short_name(one.spec)
        rows.append([name, one.task, str(len(one.right)), f"{one.share:.1%}", f"{low:.1%} to {high:.1%}", own])
    return Table(("spec", "task", "items", "right", "95%", "points against the source"), rows)


def speed_table(result: LabResult) -> Table:
    """Return tokens per second: the median, minimum and maximum over the rounds."""
    titles = list(dict.fromkeys(one.what for measured in result.speed.values() for one in measured))
    rows = [
        [
            name if name == "source" else short_name(name),
            *(f"{one.median:,.1f} ({one.low:,.1f} to {one.high:,.1f})" for one in measured),
        ]
        for name, measured in result.speed.items()
    ]
    return Table(("spec", *titles), rows)


def _arithmetic(profile: str) -> str:
    return "FP32 arithmetic" if profile == "fp32" else f"arithmetic of the profile {profile}"


def report(result: LabResult, pairs: Sequence[tuple[str, str]] = ()) -> ReportDocument:
    """Build the report; without speed, equal inputs give equal bytes.

    Parameters
    ----------
    pairs : sequence of pairs of str
        As for `LabResult.orderings`.
    """
    what = {"file": "the file's own weights"}.get(result.source, f"the file's weights, {result.source}")
    about = (
        f"Source: {result.model}, {what} ({result.weights[:16]}). {result.windows} windows of {result.context} tokens "
        f"({result.text[:16]}), scored in their second halves; "
        f"{_arithmetic(result.profile)} on the quantised weights. Embeddings: "
        f"{result.embeddings}. Bits are those of the quantised matrices, memory is that of all weights in the int8 "
        "profile, both sizes in MB. Top is the share of positions with the source's likeliest token. +- "
        "is half a 95% interval, windows being the units."
    )
    sections = [
        Section("Specs", [Paragraph(about), table(result), Paragraph("* on the front, o tied with it")]),
        Section("Plot", [Picture(plot(result), CAPTION)]),
    ]
    sections += _section("Orderings", _orderings(result, pairs))
    if result.accuracies:
        sections.append(Section("Accuracy", [accuracy_table(result)]))
    if result.speed:
        once = Paragraph("Tokens a second in the int8 profile: medians and ranges, of this machine on one day.")
        sections.append(Section("Speed", [once, speed_table(result)]))
    return ReportDocument(f"Formats of {result.model}", sections)


def _section(title: str, blocks: Iterator[Block]) -> list[Section]:
    found = list(blocks)
    return [Section(title, found)] if found else []


def _orderings(result: LabResult, pairs: Sequence[tuple[str, str]]) -> Iterator[Block]:
    """Yield the paired differences."""
    found = result.orderings(pairs)
    if found:
        yield Paragraph("Differences of KL in nats on the same windows; a tie where the interval covers zero.")
        yield ordering_table(found)


def ordering_table(orderings: Sequence[Ordering]) -> Table:
    """Return paired differences as a table."""
    rows = [
        [
            short_name(one.first), "tie" if one.tie else "before", short_name(one.second), f"{one.difference:.3g}",
            f"{one.low:.3g} to {one.high:.3g}",
        ]
        for one in orderings
    ]  # fmt: skip
    return Table(("spec", "", "other", "difference", "95%"), rows)
