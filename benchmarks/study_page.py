"""Write the pictures of study/scaling.md as one HTML page, from the records: no scripts, readable on a phone.

python benchmarks/study_page.py
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import difficulty
import exponents
import factors
import mechanisms
import numpy as np
import scaling_tables
import verifiers
from common import bootstrap
from difficulty import LARGE, SMALL

from intact._base.files import write_whole
from intact._base.packages import check_installed
from intact.evaluate.report import figures
from intact.evaluate.report.blocks import Block, Code, Paragraph, Picture, ReportDocument, Section, Table
from intact.evaluate.report.figures import PlotLine
from intact.evaluate.report.html import html
from intact.stats.association import share_of_samples

SHOWN = (
    ("one sample", SMALL), ("a vote of 4", SMALL), ("AB-MCTS 4", SMALL), ("a vote of 16", SMALL),
    ("greedy", LARGE), ("interleaved code 4", LARGE),
)  # fmt: skip
"""The settings in the picture of difficulties, by name and model."""


def table_of(markdown: str) -> Table:
    """Return a Markdown table as a table of the page, with links as plain text."""
    head, _, *rows = [[_plain(cell.strip()) for cell in line.split("|")[1:-1]] for line in markdown.splitlines()]
    return Table(head, rows)


def _plain(cell: str) -> str:
    """Return a cell without links."""
    while "](" in cell:
        before, _, rest = cell.partition("[")
        text, _, after = rest.partition("](")
        cell = before + text + after.partition(")")[2]
    return cell


FAMILIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "0.5B: greedy, votes of 4, 16, 64": (
        SMALL, ("greedy", "self-consistency 4", "self-consistency 16", "self-consistency 64"),
    ),
    "1.5B: greedy, votes of 4, 16, 64": (
        LARGE, ("greedy", "self-consistency 4", "self-consistency 16", "self-consistency 64"),
    ),
    "1.5B: programs, greedy and 4": (LARGE, ("program-aided, greedy", "program-aided 4")),
    "1.5B: text and code, greedy and 4": (LARGE, ("interleaved code, greedy", "interleaved code 4")),
    "0.5B: searches of 4": (SMALL, ("A*", "early rejection 4", "REBASE 4", "SMC 4", "UCT")),
}  # fmt: skip
"""The lines of the first picture: a model and its rows."""


def frontier() -> Iterator[Block]:
    """Draw accuracy over operations, for both models."""
    rows, _, _ = scaling_tables.frontier_rows()
    lines = []
    for name, (model, labels) in FAMILIES.items():
        own = [row for label in labels for row in rows if (row.model, row.setup) == (model, label)]
        own = sorted({row.setup: row for row in own}.values(), key=lambda row: row.operations)
        x, y = [row.operations / 1e9 for row in own], [row.accuracy for row in own]
        lines.append(PlotLine(name, x, y, [row.low for row in own], [row.high for row in own]))
    picture = figures.curves("frontier", lines, "G operations a problem", "right")
    yield Picture(picture, "Right answers over operations, both models, 100 problems of GSM8K.")
    yield Paragraph("Below: the rows that no other beats with as many operations, or as many tokens in a row.")
    yield table_of(scaling_tables.frontier_table())


def scorers() -> Iterator[Block]:
    """Draw accuracy over the AUROC of the scorer, by set and number of texts."""
    cells = [verifiers.Cell(**one) for one in verifiers.Lines(verifiers.KEPT).all]
    for (name, n), part in itertools.groupby(sorted(cells, key=lambda c: (c.set, c.n)), key=lambda c: (c.set, c.n)):
        own = list(part)
        lines = [
            PlotLine(method, [c.reached for c in row], [c.right[0] for c in row],
                     [c.right[1] for c in row], [c.right[2] for c in row])
            for method in verifiers.METHODS
            if (row := [cell for cell in own if cell.method == method])
        ]  # fmt: skip
        lines.append(PlotLine(f"a vote of {n}", [0.5, 1.0], [own[0].vote] * 2))
        picture = figures.curves(f"scorers {name} {n}", lines, "AUROC of the scorer", "right", linear=True)
        yield Picture(picture, f"{name}: accuracy with {n} texts by the quality of the scorer.")
    yield table_of(verifiers.table())


def difficulties() -> Iterator[Block]:
    """Draw the accuracy of some settings over the accuracy of one sample."""
    data = difficulty.study()
    accuracy = data.accuracy(0)
    bins = difficulty.bins_of(accuracy)
    places = range(len(difficulty.BINS))
    x = [float(accuracy[bins == place].mean()) for place in places]
    lines = []
    for setting in difficulty.SETTINGS:
        values = data.values(setting, 0)
        if (setting.name, setting.model) in SHOWN and values is not None:
            found = [share_of_samples(values[bins == place], np.ones((bins == place).sum())) for place in places]
            name = f"{scaling_tables.SIZES[setting.model]}: {setting.name}"
            estimates = [[getattr(one, part) for one in found] for part in ("estimate", "low", "high")]
            lines.append(PlotLine(name, x, *estimates))
    picture = figures.curves("difficulty", lines, "accuracy of one sample of the 0.5B", "right", linear=True)
    yield Picture(picture, "Accuracy by difficulty, in four bins; the bins' samples are not those scored.")
    for model in (SMALL, LARGE):
        yield table_of(difficulty.table(data, model))
    yield table_of(difficulty.sequential(data))


def signs() -> Iterator[Block]:
    """Draw the share of problems on which each method used its mechanism."""
    rows = {row.label: (row.share, row.share, row.share) for row in mechanisms.exercises()}
    picture = figures.bounds("mechanisms", rows, "problems on which the mechanism was seen")
    yield Picture(picture, "The share of problems on which a method did what distinguishes it.")
    yield Paragraph(f"Not exercised, so that nothing is claimed from them: {', '.join(sorted(mechanisms.idle()))}.")


ROWS = ("search", "revision", "prompt: plan", "model")
"""Kinds of changes that the picture shows by the row that results."""


def changes() -> Iterator[Block]:
    """Draw the effect of each change."""
    rows = {}
    for effect in factors.effects():
        factor, name = effect.factor, effect.factor.kind
        if name in rows or name.startswith(ROWS):
            where = [factors.SIZES[factor.after.model], factors.SETS[factor.after.records]]
            name = factor.after.row if name.startswith(ROWS) else f"{name}, {where[0]} {where[1]}"
        while name in rows:  # the same rows of another model or set
            name += "*"
        rows[name] = (float(effect.gains.mean()), *bootstrap(effect.gains))
    picture = figures.bounds("changes", rows, "difference in right answers")
    yield Picture(picture, "Differences on the same problems with 95% intervals, before correction; filled: not zero.")
    yield table_of(factors.table())


SECTIONS: dict[str, Callable[[], Iterator[Block]]] = {
    "Both models on one scale": frontier,
    "How good a scorer must be": scorers,
    "By difficulty": difficulties,
    "Mechanisms": signs,
    "One change at a time": changes,
    "Solving and verifying": lambda: iter([table_of(exponents.table())]),
    "Reproduce this page": lambda: iter(
        [
            Paragraph(
                "From study/records, without a model; a row itself is repeated to the byte by the second command."
            ),
            Code(
                [
                    "python benchmarks/study_page.py",
                    'python benchmarks/repeat.py "self-consistency 16" --from journal --model qwen-coder-0.5b',
                ]
            ),
        ]
    ),
}


def document() -> ReportDocument:
    """Return the page's contents."""
    sections = [Section(title, list(make())) for title, make in SECTIONS.items()]
    return ReportDocument("Accuracy and cost of methods", sections)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=Path, default=scaling_tables.ROOT / "build" / "study.html", metavar="FILE")
    args = p.parse_args()
    check_installed("the page", "matplotlib")
    args.out.parent.mkdir(exist_ok=True)
    write_whole(args.out, html(document()))
    print(args.out)


if __name__ == "__main__":
    main()
