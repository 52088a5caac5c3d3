"""The pages of the repository and their order, read from the lists in docs/README.md."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

INDEX = "docs/README"
PROJECT = ("CHANGELOG", "CONTRIBUTING", "SECURITY")
REFERENCE = (
    ("Python", "reference/python/index"),
    ("Command line", "reference/commands"),
    ("HTTP", "reference/http"),
)
BELOW = {
    "docs/reasoning": "docs/methods/*",
    "benchmarks/README": "benchmarks/*/README",
}
"""Pages that have further ones below them, all of a folder."""
_ENTRY = re.compile(r"^- \[([^]]+)\]\(([\w./]+)\.md\)", re.MULTILINE)


class Section(NamedTuple):
    """A heading of an index, and the pages in its list as pairs of title and page."""

    heading: str
    pages: tuple[tuple[str, str], ...]


def sections(index: Path, folder: str) -> list[Section]:
    """Return the lists of an index page, whose links are relative to its folder."""
    _, *parts = re.split(r"^## ", index.read_text("utf-8"), flags=re.MULTILINE)
    found = []
    for part in parts:
        entries = tuple((title, os.path.normpath(f"{folder}/{name}")) for title, name in _ENTRY.findall(part))
        if entries:
            found.append(Section(part.partition("\n")[0], entries))
    return found


def moved(root: Path) -> dict[str, str]:
    """Return where pages of earlier versions went: the table "Where pages went" of the index, without endings.

    A row names pages of one folder, or a folder, and the folder or the page that they are now.
    """
    text = (root / f"{INDEX}.md").read_text("utf-8").partition("## Where pages went\n")[2].partition("\n## ")[0]
    found: dict[str, str] = {}
    for before, now in re.findall(r"^\| (docs/[^|]+?) \| ([\w/.]+) \|$", text, re.MULTILINE):
        first, *others = before.split(", ")
        folder = first.rpartition("/")[0]
        names = (
            [path.name for path in (root / now).glob("*.md")] if first.endswith("/") else [Path(first).name, *others]
        )
        for name in names:
            found[f"{folder}/{name.removesuffix('.md')}"] = (now + name if now.endswith("/") else now).removesuffix(
                ".md"
            )
    return found


def listed(root: Path) -> list[str]:
    """Return the files of a checkout, committed or not, except those that git ignores."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    return [name for name in sorted(set(done.stdout.splitlines())) if (root / name).is_file()]


def copy(root: Path, source: Path) -> None:
    """Copy a checkout so that links between its files work; MyST follows file links that leave its folder."""
    for name in listed(root):
        place = source / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, place)


def _tree(caption: str | None, entries: list[str]) -> str:
    options = ":hidden:\n" + (f":caption: {caption}\n" if caption else "")
    return "\n\n```{toctree}\n" + options + "\n" + "\n".join(entries) + "\n```\n"


def navigation(source: Path, page: str) -> str:
    """Return the text to append to a page: lists of its subpages, which the site shows in the sidebar."""
    if page == "README":
        trees = [_tree(None, [f"All documentation <{INDEX}>"])]
        for heading, entries in sections(source / f"{INDEX}.md", "docs"):
            trees.append(_tree(heading, [f"{title} </{name}>" for title, name in entries]))
        if (source / "reference").exists():
            trees.append(_tree("Reference", [f"{title} </{name}>" for title, name in REFERENCE]))
        more = ["study/notes/README", "benchmarks/README", *PROJECT]
        made = sorted(f"folders/{path.stem}" for path in (source / "folders").glob("*.md"))
        examples = sorted(f"{path.parent.relative_to(source)}/README" for path in source.glob("examples/*/README.md"))
        return "".join([*trees, _tree("The project", [*more, *made, *examples])])
    if page == "study/notes/README":
        notes = sections(source / f"{page}.md", "study/notes")
        return _tree(None, [f"/{name}" for section in notes for _, name in section.pages])
    if page in BELOW:
        found = sorted(source.glob(f"{BELOW[page]}.md"))
        return _tree(None, [f"/{path.relative_to(source).with_suffix('')}" for path in found])
    return ""
