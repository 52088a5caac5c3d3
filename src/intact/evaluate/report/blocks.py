"""The building blocks of a report, independent of its format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias


class Paragraph(NamedTuple):
    """A paragraph; a warning is emphasised."""

    text: str
    warning: bool = False


class Table(NamedTuple):
    """Rows of cells below a header; the first column names the row."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


class Picture(NamedTuple):
    """An SVG picture with a caption of one sentence."""

    svg: str
    caption: str


class Code(NamedTuple):
    """Lines to copy, such as commands."""

    lines: Sequence[str]


class TextTree(NamedTuple):
    """An expandable item: a line, its text, and nested items."""

    line: str
    text: str
    inner: tuple[TextTree, ...] = ()
    good: bool = False


class TextTrees(NamedTuple):
    """A list of trees; `more` is the number of trees left out of the report."""

    trees: Sequence[TextTree]
    more: int = 0


Block: TypeAlias = Paragraph | Table | Picture | Code | TextTrees


def table(rows: Iterable[Mapping[str, str]], *notes: str) -> Iterator[Block]:
    """Yield a table and paragraphs that explain it, or nothing if it has no rows; rows map column titles to cells."""
    cells = list(rows)
    if cells:
        yield Table(list(cells[0]), [list(row.values()) for row in cells])
        yield from map(Paragraph, notes)


class Section(NamedTuple):
    """A heading with blocks, the papers of its formulas, and its unrounded numbers by run."""

    title: str
    blocks: Sequence[Block]
    sources: Sequence[str] = ()
    numbers: Mapping[str, Any] = {}


class ReportDocument(NamedTuple):
    """A whole report; `omitted` maps the headings of omitted sections to the reasons."""

    title: str
    sections: Sequence[Section]
    omitted: Mapping[str, str] = {}
