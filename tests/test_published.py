"""The list of published figures: its counts are right, its figures stand on the pages that it links."""

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "published.md"
VERDICTS = ("reproduced", "tie", "refuted", "not measured", "out of reach", "no figure")
COMPARED = VERDICTS[:3]
ORDERINGS = "## Orderings of formats\n"
HEADER = "| what | published | here | where | verdict |"
AN_INTERVAL = re.compile(r"\bto\b|[±\[]|standard error|\bwithin\b")
CLAIMS = {"seen": "reproduced", "tie": "tie", "the other way": "refuted"}
MARKED = re.compile(r"\([an]\)")


class Line(NamedTuple):
    what: str
    published: str
    here: str
    where: str
    verdict: str

    @property
    def figures(self) -> list[str]:
        """The figures under "here", without their labels."""
        return [part.rpartition(": ")[2].strip() for part in self.here.split(";")] if self.here else []

    @property
    def source(self) -> str | None:
        """The file that "where" links."""
        links = re.findall(r"\]\(([^)#]+)", self.where)
        return links[0] if links else None


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip()[1:-1])]


def _lines() -> list[Line]:
    text = PAGE.read_text(encoding="utf-8")
    tables = re.findall(rf"^{re.escape(HEADER)}\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [Line(*_cells(row)) for table in tables for row in table.splitlines()]


def _plain(text: str) -> str:
    """Return a text without the marks of tables, brackets and escapes, with single spaces."""
    return " ".join(re.sub(r"[|±()\[\]\\`*]", " ", text).split())


LINES = _lines()


def _name(line: Line) -> str:
    return re.sub(r"\W+", "-", f"{line.what.partition(']')[0]}-{line.here}")[:60]


def test_every_table_of_the_page_is_read() -> None:
    rows = [row for row in PAGE.read_text(encoding="utf-8").splitlines() if row.startswith("| [")]
    assert len(rows) == len(LINES) > 100


def test_the_counts_of_verdicts_are_right() -> None:
    text = PAGE.read_text(encoding="utf-8")
    stated = re.findall(r"^\| ([\w ]+) \| [^|]+ \| (\d+) \| (\d+) \| (\d+) \|$", text, re.MULTILINE)
    every = Counter(line.verdict for line in LINES)
    methods = Counter(line.verdict for line in LINES if "](methods/" in line.what)
    orderings = Counter(line.verdict for line in LINES[-text.partition(ORDERINGS)[2].count("\n| [") :])
    assert stated == [
        (verdict, str(every[verdict]), str(methods[verdict]), str(orderings[verdict])) for verdict in VERDICTS
    ]
    assert set(every) == set(VERDICTS)


def test_every_method_has_a_line_with_a_link_to_its_page() -> None:
    from intact.reason.registry import all_methods

    linked = re.findall(r"^\[(\w+)\]\(methods/(\w+)\.md\)", "\n".join(line.what for line in LINES), re.MULTILINE)
    assert all(name == file for name, file in linked)
    assert {name for name, _ in linked} == set(all_methods())


@pytest.mark.parametrize("line", LINES, ids=_name)
def test_what_was_measured_stands_on_the_linked_page(line: Line) -> None:
    if not line.figures:
        assert line.source is None
        return
    assert line.source is not None
    page = _plain((DOCS / line.source).read_text(encoding="utf-8"))
    missing = [
        figure
        for figure in line.figures
        if not re.search(rf"(?<![\w.-]){re.escape(_plain(figure))}(?![\w%]|\.\d)", page)
    ]
    assert not missing, f"{line.source} lacks {missing}"


@pytest.mark.parametrize("line", [line for line in LINES if not MARKED.search(line.published)], ids=_name)
def test_a_published_figure_stands_on_the_page_of_the_thing_unless_it_is_marked(line: Line) -> None:
    (file,) = re.findall(r"\]\(([^)#]+)", line.what)
    page = _plain((DOCS / file).read_text(encoding="utf-8"))
    words = [word.rstrip(".,;:") for word in _plain(line.published).split() if re.search(r"\d", word)]
    missing = [word for word in words if not re.search(rf"(?<![\d.]){re.escape(word)}(?!\d|\.\d)", page)]
    assert not missing, f"{file} lacks {missing}"


@pytest.mark.parametrize("line", LINES, ids=_name)
def test_a_verdict_has_what_it_needs(line: Line) -> None:
    exact = re.search(r"\bexact\b", line.where)
    if line.verdict in COMPARED:
        assert line.figures, "a comparison needs a figure measured here"
        assert AN_INTERVAL.search(line.here) or exact, "a comparison needs an interval"
    elif line.verdict == "out of reach":
        assert re.search(r"needs? |not published|not here|not built|A100", line.where), "it must say what is missing"
    elif line.verdict == "no figure":
        words = r"none|not found|no figure|nothing measured"
        assert re.search(words, line.published), "it must say that there is none"


def test_verdicts_on_orderings_are_those_of_the_page_of_formats() -> None:
    rows = [_cells(row) for row in (DOCS / "formats.md").read_text(encoding="utf-8").splitlines() if row[:2] == "| "]
    claims = {cells[4]: cells for cells in rows if len(cells) == 6 and cells[3] in CLAIMS}
    orderings = PAGE.read_text(encoding="utf-8").partition(ORDERINGS)[2]
    lines = [line for line in LINES if line.here in claims and f"| {line.here} |" in orderings]
    assert len(lines) == orderings.count("\n| [")
    for line in lines:
        claim, *_, here, _, _ = claims[line.here]
        assert line.what.startswith("[" + re.sub(r" \([^)]*\)$", "", claim) + "]")
        assert line.verdict == CLAIMS[here]
