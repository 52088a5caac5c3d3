#!/usr/bin/env python3
"""Fill study/published.md from records: values, verdicts, and the counts of verdicts.

    python benchmarks/published_table.py [--check]

A line whose value comes from a record names the table in its column "where", as in `SOURCES`; the value and its
interval are those of study/scaling.md or study/formats.md, which scaling_tables.py and formats.py write from records.
The verdict of a comparison follows from the interval. With --check nothing is written; the exit status is 1 if the page
would change, or says that a measured method is not measured (`stale`).
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

STUDY = Path(__file__).resolve().parent.parent / "study"
PAGE, SCALING, FORMATS = (STUDY / name for name in ("published.md", "scaling.md", "formats.md"))
VERDICTS = ("reproduced", "tie", "refuted", "not measured", "out of reach", "no figure")
COMPARED = VERDICTS[:3]
SOURCES = {
    "GSM8K, 0.5B, beyond a vote of four": ("judges", "steps", "revisions", "others"),
    "GSM8K, 0.5B, beyond one greedy text": ("retrieved",),
    "ARC-Challenge, 0.5B, beyond a vote of four": ("choices",),
}
"""The tables of study/scaling.md that lines may take values from, by the words of the line's link."""
IDLE = "not exercised"
ORDERINGS = "## Orderings of formats\n"
SETTINGS = {
    "tiny Llama": "A tiny Llama trained in float32",
    "SmolLM2-135M": "SmolLM2-135M-Instruct Q4\\_1, permuted",
    "0.5B": "Qwen2.5-Coder-0.5B Q4\\_K\\_M, permuted",
    "Gemma 3 270M": "Gemma-3-270m Q4\\_K\\_M, permuted",
}
"""Sections of study/formats.md by the words of a line's link."""
CLAIMS = {"seen": "reproduced", "tie": "tie", "the other way": "refuted"}
AGAINST = ("generative_verifier",)
"""Methods for which the paper reports a loss, so that a loss here reproduces it."""


class Line(NamedTuple):
    """The cells of a line of the page."""

    what: str
    published: str
    here: str
    where: str
    verdict: str

    @property
    def name(self) -> str:
        """The words of the first link, without paper numbers."""
        return re.sub(r" \([^)]*\)$", "", self.what[1:].partition("](")[0])

    @property
    def source(self) -> str:
        """The words of the link to the measurement, up to a semicolon."""
        found = re.match(r"\[([^\];]+)", self.where)
        return found[1] if found else ""

    def __str__(self) -> str:
        return f"|{'|'.join(f' {cell} ' if cell else ' ' for cell in self)}|"


class Measured(NamedTuple):
    """A row of study/scaling.md: the difference with its interval, and the tokens."""

    difference: str
    tokens: str
    idle: bool = False

    @property
    def here(self) -> str:
        """The cell for the page."""
        return IDLE if self.idle else f"{self.difference}; tokens: {self.tokens}"

    def verdict(self, against: bool) -> str:
        """Return the verdict that the interval implies for a claim of gains, or of losses."""
        if self.idle:
            return "not measured"
        low, high = (float(bound) for bound in re.findall(r"([+-][\d.]+)%", self.difference)[1:])
        if low <= 0 <= high:
            return "tie"
        return "reproduced" if (low > 0) != against else "refuted"


def cells(row: str) -> list[str]:
    """Return the cells of a table row."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip()[1:-1])]


def measured(page: str) -> dict[str, dict[str, Measured]]:
    """Return the first row of each method in each table of study/scaling.md."""
    found: dict[str, dict[str, Measured]] = {}
    for name, rows in re.findall(r"<!-- scaling: (.+?) -->\n(.*?)<!-- end of scaling -->", page, re.DOTALL):
        head, _, *body = rows.splitlines()
        if not cells(head)[2].startswith("beyond"):
            continue
        place = cells(head).index("tokens")
        for row in map(cells, body):
            method = re.search(r"\]\(\.\./docs/methods/(\w+)\.md\)", row[0])
            if method is not None and row[2]:
                idle = "](#mechanisms)" in row[0]
                found.setdefault(name, {}).setdefault(method[1], Measured(row[2], row[place], idle))
    return found


def orderings(page: str) -> dict[tuple[str, str], tuple[str, str]]:
    """Return value and verdict of each claim in each section of study/formats.md."""
    found = {}
    for section in page.split("\n## ")[1:]:
        title = section.partition("\n")[0]
        for row in map(cells, re.findall(r"^\| .*$", section, re.MULTILINE)):
            if len(row) == 6 and row[3] in CLAIMS:
                found[title, re.sub(r" \([^)]*\)$", "", row[0])] = row[4], CLAIMS[row[3]]
    return found


def filled(
    line: Line, rows: Mapping[str, Mapping[str, Measured]], claims: Mapping[tuple[str, str], tuple[str, str]]
) -> Line:
    """Return a line with its record's value and verdict; a line without a record is unchanged.

    Raises
    ------
    ValueError
        If the record is missing.
    """
    if line.source in SOURCES:
        found = next((rows[name][line.name] for name in SOURCES[line.source] if line.name in rows.get(name, ())), None)
        if found is None:
            raise ValueError(f"{SCALING.name} has no row for {line.name} in {line.source!r}")
        verdict = found.verdict(line.name in AGAINST) if line.verdict in COMPARED else line.verdict
        return line._replace(here=found.here, verdict=verdict)
    if (title := SETTINGS.get(line.source)) is not None and f"]({FORMATS.name}#" in line.where:
        claim = claims.get((title, line.name))
        return line if claim is None else line._replace(here=claim[0], verdict=claim[1])
    return line


def stale(lines: list[Line], rows: Mapping[str, Mapping[str, Measured]]) -> list[str]:
    """Return the methods that have a row in study/scaling.md but no value on the page."""
    shown = {line.name for line in lines if line.here}
    known = {method for name in sum(SOURCES.values(), ()) for method in rows.get(name, ())}
    return sorted(known - shown)


def lines_of(page: str) -> Iterator[Line]:
    """Yield the lines of the page."""
    for row in re.findall(r"^\| \[.*$", page, re.MULTILINE):
        yield Line(*cells(row))


def updated(page: str, scaling: str, formats: str) -> str:
    """Return the page with values, verdicts and counts from the records."""
    rows, claims = measured(scaling), orderings(formats)

    def fill(match: re.Match[str]) -> str:
        return str(filled(Line(*cells(match[0])), rows, claims))

    page = re.sub(r"^\| \[.*$", fill, page, flags=re.MULTILINE)
    every = Counter(line.verdict for line in lines_of(page))
    methods = Counter(line.verdict for line in lines_of(page) if "](../docs/methods/" in line.what)
    ordered = Counter(line.verdict for line in lines_of(page.partition(ORDERINGS)[2]))

    def counted(match: re.Match[str]) -> str:
        name = match[1]
        return f"| {name} | {match[2]} | {every[name]} | {methods[name]} | {ordered[name]} |"

    return re.sub(rf"^\| ({'|'.join(VERDICTS)}) \| ([^|]+) \| \d+ \| \d+ \| \d+ \|$", counted, page, flags=re.MULTILINE)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if the page would change or is stale"
    )
    args = p.parse_args()
    before, scaling, formats = (path.read_text("utf-8") for path in (PAGE, SCALING, FORMATS))
    after = updated(before, scaling, formats)
    old = stale(list(lines_of(after)), measured(scaling))
    for name in old:
        print(f"{PAGE.name} has no value for {name}, although {SCALING.name} has a row for it", file=sys.stderr)
    if not args.check and after != before:
        PAGE.write_text(after, "utf-8")
        print(PAGE.name)
    raise SystemExit(bool(old) or (args.check and after != before))


if __name__ == "__main__":
    main()
