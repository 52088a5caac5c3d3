"""A report as one HTML file: no script, nothing from elsewhere; for screens of any width and for paper."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from intact.evaluate.report.blocks import Block, Code, Paragraph, Picture, ReportDocument, Table, TextTree, TextTrees

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_IDS = re.compile(r'(\bid="|href="#|url\(#)')


def html(report: ReportDocument) -> str:
    """The whole file."""
    return "".join(f"{part}\n" for part in _parts(report))


def _parts(report: ReportDocument) -> Iterator[str]:
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    style = Path(__file__).with_name("report.css").read_text("utf-8")
    yield f"<title>{escape(report.title)}</title>\n<style>\n{style}</style>\n</head>\n<body>"
    yield f"<h1>{escape(report.title)}</h1>"
    links = [f'<a href="#s{i}">{escape(section.title)}</a>' for i, section in enumerate(report.sections)]
    yield f"<nav>{' '.join(links)}</nav>"
    for i, section in enumerate(report.sections):
        yield f'<section>\n<h2 id="s{i}">{escape(section.title)}</h2>'
        for j, block in enumerate(section.blocks):
            yield _block(block, f"f{i}-{j}-")
        yield "</section>"
    yield "</body>\n</html>"


def _block(block: Block, prefix: str) -> str:
    match block:
        case Paragraph(text, warning):
            return f'<p class="{"warning" if warning else "small"}">{_clean(text)}</p>'
        case Table(head, rows):
            heads = "".join(f'<th scope="col">{_clean(cell)}</th>' for cell in head)
            body = "".join(_row(head, row) for row in rows)
            return f"<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>"
        case Picture(svg, caption):
            own = _IDS.sub(rf"\g<1>{prefix}", svg)  # names are those of the page, which holds several pictures
            shown = own.replace("<svg ", f'<svg role="img" aria-label="{_clean(caption)}" ', 1)
            return f"<figure>\n{shown}\n<figcaption>{_clean(caption)}</figcaption>\n</figure>"
        case Code(lines):
            return "".join(f"<pre>{_clean(line)}</pre>\n" for line in lines)
        case TextTrees(trees, more):
            return "".join(map(_tree, trees)) + (f'<p class="small">and {more} more</p>' if more else "")


def _row(head: Sequence[str], row: Sequence[str]) -> str:
    cells = zip(head[1:], row[1:], strict=True)
    told = "".join(f'<td data-head="{_clean(name)}">{_clean(cell)}</td>' for name, cell in cells)
    return f'<tr><th scope="row">{_clean(row[0])}</th>{told}</tr>\n'


def _tree(tree: TextTree) -> str:
    kind = ' class="good"' if tree.good else ""
    text = f"<pre>{_clean(tree.text)}</pre>" if tree.text else ""
    inner = "".join(_tree(one) for one in tree.inner)
    return f"<details><summary{kind}>{_clean(tree.line)}</summary>{text}\n{inner}</details>\n"


_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def _clean(text: object) -> str:
    """Text as HTML has it; characters that no file may hold are shown as such."""
    return escape(_CONTROL.sub("\ufffd", str(text)))
