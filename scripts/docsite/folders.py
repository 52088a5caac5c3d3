"""Replaces links to folders with links to pages that list the folder's files, because a static site has no listings."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pages import listed

_LINK = re.compile(r"\]\(([^)#:\s]+?)/?\)")
HOMES = {"docs/methods": "docs/reasoning.md", "docs": "docs/README.md"}
"""Folders that a page describes."""


def _folder(root: Path, page: Path, link: str) -> str | None:
    """Return the folder that a page's link points to, relative to the root; None if it points to a file."""
    there = page.parent / link
    return os.path.relpath(there, root) if there.is_dir() else None


def _target(root: Path, folder: str) -> str:
    """Return the page that represents a folder, relative to the root."""
    if folder in HOMES:
        return HOMES[folder]
    return f"{folder}/README.md" if (root / folder / "README.md").exists() else f"folders/{folder.replace('/', '-')}.md"


def replaced(root: Path, page: Path, text: str) -> str:
    """Return a page's text with links to folders replaced by links to pages."""

    def put(match: re.Match[str]) -> str:
        folder = _folder(root, page, match[1])
        if folder is None:
            return match[0]
        return f"]({os.path.relpath(root / _target(root, folder), page.parent)})"

    return _LINK.sub(put, text)


def write(root: Path, source: Path) -> None:
    """Write a page for each folder that a page links to and that has no page of its own."""
    files = listed(root)
    (source / "folders").mkdir()
    for page in [source / name for name in files if name.endswith(".md")]:
        for match in _LINK.finditer(page.read_text("utf-8")):
            folder = _folder(source, page, match[1])
            if folder is None or (target := source / _target(source, folder)).exists():
                continue
            inside = [name for name in files if name.startswith(f"{folder}/")]
            lines = [f"- [{name.removeprefix(folder + '/')}](../{name})" for name in inside]
            target.write_text(f"# Files of {folder}\n\n" + "\n".join(lines) + "\n", "utf-8")
