"""A report as Markdown, with pictures in separate files."""

from __future__ import annotations

import re

from intact.evaluate.report.blocks import Block, Code, Paragraph, Picture, ReportDocument, Table, TextTrees

EXAMPLES = 5
"""Maximum number of trees in a list, one line each; the HTML report and the tree file contain the completions."""
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#])")


def markdown(report: ReportDocument, stem: str) -> tuple[str, dict[str, str]]:
    """Return the report's text, and the pictures by file name; names begin with `stem`."""
    pictures: dict[str, str] = {}
    parts = [f"# {_plain(report.title)}"]
    for section in report.sections:
        parts.append(f"## {_plain(section.title)}")
        for block in section.blocks:
            if isinstance(block, Picture):
                name = f"{stem}-{len(pictures) + 1}.svg"
                pictures[name] = block.svg
                parts.append(f"![{_plain(block.caption)}]({name})")
            else:
                parts.append(_block(block))
    return "\n\n".join(parts) + "\n", pictures


def _block(block: Block) -> str:
    match block:
        case Paragraph(text, warning):
            return f"**Note:** {_plain(text)}" if warning else _plain(text)
        case Table(head, rows):
            lines = [head, ["---"] * len(head), *rows]
            return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)
        case Code(lines):
            return "\n".join(f"    {line}" for line in lines)
        case TextTrees(trees, more):
            items = [f"- {_plain(tree.line)}" for tree in trees[:EXAMPLES]]
            more += len(trees) - len(items)
            return "\n".join([*items, f"- and {more} more"] if more else items)
        case _:
            return ""


def _cell(text: str) -> str:
    return text if text == "---" else _plain(text)


def _plain(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
