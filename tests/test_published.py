"""The list of published figures: its counts are right, its figures stand on the pages that it links."""

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from support.modules import load

TABLE = load("benchmarks/published_table.py")
STUDY = Path(__file__).parent.parent / "study"
PAGE = STUDY / "published.md"
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
    methods = Counter(line.verdict for line in LINES if "](../docs/methods/" in line.what)
    orderings = Counter(line.verdict for line in LINES[-text.partition(ORDERINGS)[2].count("\n| [") :])
    assert stated == [
        (verdict, str(every[verdict]), str(methods[verdict]), str(orderings[verdict])) for verdict in VERDICTS
    ]
    assert set(every) == set(VERDICTS)


def test_figures_and_verdicts_are_those_of_the_records() -> None:
    """`python benchmarks/published_table.py` writes them."""
    page, scaling, formats = (path.read_text("utf-8") for path in (TABLE.PAGE, TABLE.SCALING, TABLE.FORMATS))
    assert TABLE.updated(page, scaling, formats) == page
    assert TABLE.stale(list(TABLE.lines_of(page)), TABLE.measured(scaling)) == []


SCALING = """\
<!-- scaling: judges -->
| method | right | beyond self-consistency 4 | p | tokens |
|---|---|---|---|---|
| [self-consistency 4](../docs/methods/self_consistency.md) | 31.0% |  |  | 1,164 |
| [rebase 4](../docs/methods/rebase.md) | 33.0% | {rebase} | 0.1 | 900 |
| [generative verifier 4](../docs/methods/generative_verifier.md) | 19.0% | -12.0% (-19.0% to -5.0%) | 0.1 | 950 |
<!-- end of scaling -->
"""
FORMATS = """\
# Formats

## A tiny Llama trained in float32

| claim | first | second | here | second - first, nats | ratio of KL |
| --- | --- | --- | --- | --- | --- |
| MXFP6 before MXINT6 (INT v.s. FP) | mxfp6 | mxint6 | the other way | -0.1 (-0.2 to -0.05) | 1.50 |
"""
PAGE_OF_THREE = """\
| verdict | meaning | lines | of methods | of orderings of formats |
|---|---|---|---|---|
| reproduced | the same | 0 | 0 | 0 |
| refuted | the other way | 0 | 0 | 0 |

| [rebase](../docs/methods/rebase.md) | better | old | [GSM8K, 0.5B, beyond a vote of four](scaling.md#a) | tie |
| [generative_verifier](../docs/methods/generative_verifier.md) | w | | [GSM8K, 0.5B, beyond a vote of four](a) | tie |

## Orderings of formats

| [MXFP6 before MXINT6](quantizing.md#fp8) | on all | old | [tiny Llama](formats.md#a) | reproduced |
"""


def test_a_line_takes_figure_and_verdict_from_the_record_that_it_names() -> None:
    page = TABLE.updated(PAGE_OF_THREE, SCALING.format(rebase="+2.0% (+1.0% to +3.0%)"), FORMATS)
    lines = list(TABLE.lines_of(page))
    assert [line.here for line in lines] == [
        "+2.0% (+1.0% to +3.0%); tokens: 900", "-12.0% (-19.0% to -5.0%); tokens: 950", "-0.1 (-0.2 to -0.05)",
    ]  # fmt: skip
    assert [line.verdict for line in lines] == ["reproduced", "reproduced", "refuted"]
    assert "| reproduced | the same | 2 | 2 | 0 |" in page
    assert "| refuted | the other way | 1 | 0 | 1 |" in page
    page = TABLE.updated(PAGE_OF_THREE, SCALING.format(rebase="-2.0% (-3.0% to -1.0%)"), FORMATS)
    assert next(TABLE.lines_of(page)).verdict == "refuted"
    rows = TABLE.measured(SCALING.format(rebase="+0.0% (-1.0% to +1.0%)"))
    assert rows["judges"]["rebase"].verdict(against=False) == "tie"
    assert TABLE.stale(lines[1:], rows) == ["rebase"]
    with pytest.raises(ValueError, match="has no row for rebase"):
        TABLE.updated(PAGE_OF_THREE, "", FORMATS)


def test_every_method_has_a_line_with_a_link_to_its_page() -> None:
    from intact.reason.registry import all_methods

    text = "\n".join(line.what for line in LINES)
    linked = re.findall(r"^\[(\w+)\]\(\.\./docs/methods/(\w+)\.md\)", text, re.MULTILINE)
    assert all(name == file for name, file in linked)
    assert {name for name, _ in linked} == set(all_methods())


@pytest.mark.parametrize("line", LINES, ids=_name)
def test_what_was_measured_stands_on_the_linked_page(line: Line) -> None:
    if not line.figures:
        assert line.source is None
        return
    assert line.source is not None
    page = _plain((STUDY / line.source).read_text(encoding="utf-8"))
    missing = [
        figure
        for figure in line.figures
        if not re.search(rf"(?<![\w.-]){re.escape(_plain(figure))}(?![\w%]|\.\d)", page)
    ]
    assert not missing, f"{line.source} lacks {missing}"


@pytest.mark.parametrize("line", [line for line in LINES if not MARKED.search(line.published)], ids=_name)
def test_a_published_figure_stands_on_the_page_of_the_thing_unless_it_is_marked(line: Line) -> None:
    (file,) = re.findall(r"\]\(([^)#]+)", line.what)
    page = _plain((STUDY / file).read_text(encoding="utf-8"))
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
    rows = [_cells(row) for row in (STUDY / "formats.md").read_text(encoding="utf-8").splitlines() if row[:2] == "| "]
    claims = {cells[4]: cells for cells in rows if len(cells) == 6 and cells[3] in CLAIMS}
    orderings = PAGE.read_text(encoding="utf-8").partition(ORDERINGS)[2]
    lines = [line for line in LINES if line.here in claims and f"| {line.here} |" in orderings]
    assert len(lines) == orderings.count("\n| [")
    for line in lines:
        claim, *_, here, _, _ = claims[line.here]
        assert line.what.startswith("[" + re.sub(r" \([^)]*\)$", "", claim) + "]")
        assert line.verdict == CLAIMS[here]
