"""What a report consists of, before anyone decides whether it becomes HTML or Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias


class Paragraph(NamedTuple):
    """A paragraph; a warning is one that must not be overlooked."""

    text: str
    warning: bool = False


class Table(NamedTuple):
    """Rows of cells below a head; the first column names the row."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


class Picture(NamedTuple):
    """A picture in SVG, and in a sentence what it shows."""

    svg: str
    caption: str


class Code(NamedTuple):
    """Lines to be copied."""

    lines: Sequence[str]


class TextTree(NamedTuple):
    """Something that opens: a line, a text, and what is below."""

    line: str
    text: str
    inner: tuple[TextTree, ...] = ()
    good: bool = False


class TextTrees(NamedTuple):
    """Trees that belong together; `more` of them are not in the report."""

    trees: Sequence[TextTree]
    more: int = 0


Block: TypeAlias = Paragraph | Table | Picture | Code | TextTrees


class Section(NamedTuple):
    """A title, and what is below it."""

    title: str
    blocks: Sequence[Block]


class ReportDocument(NamedTuple):
    """A whole report."""

    title: str
    sections: Sequence[Section]
