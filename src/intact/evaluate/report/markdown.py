"""A report as Markdown, its pictures beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from intact.evaluate.report.blocks import Block, Code, Figure, Report, Table, Text, Tree, Trees

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#])")


def markdown(report: Report, stem: str) -> tuple[str, dict[str, str]]:
    """The text, and the pictures by the names of their files, which begin with `stem`."""
    pictures: dict[str, str] = {}
    parts = [f"# {_plain(report.title)}"]
    for section in report.sections:
        parts.append(f"## {_plain(section.title)}")
        for block in section.blocks:
            if isinstance(block, Figure):
                name = f"{stem}-{len(pictures) + 1}.svg"
                pictures[name] = block.svg
                parts.append(f"![{_plain(block.caption)}]({name})")
            else:
                parts.append(_block(block))
    return "\n\n".join(parts) + "\n", pictures


def _block(block: Block) -> str:
    match block:
        case Text(text, warning):
            return f"**Note:** {_plain(text)}" if warning else _plain(text)
        case Table(head, rows):
            lines = [head, ["---"] * len(head), *rows]
            return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)
        case Code(lines):
            return "\n".join(f"    {line}" for line in lines)
        case Trees(trees):
            return "\n".join(line for tree in trees for line in _tree(tree, 0))
        case _:
            return ""


def _cell(text: str) -> str:
    return text if text == "---" else _plain(text)


def _tree(tree: Tree, depth: int) -> Iterator[str]:
    """Only the lines: the texts are in the HTML, and in the file of trees."""
    yield f"{'  ' * depth}- {_plain(tree.line)}"
    for one in tree.inner:
        yield from _tree(one, depth + 1)


def _plain(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
