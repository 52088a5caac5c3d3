"""Checks of the generated site: its own links, and that a reader's browser contacts no other host."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import accessible

LOADS = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "embed": "src",
    "object": "data",
    "use": "href",
    "form": "action",
}
"""Elements and attributes that a browser loads automatically; for `link`, all relations except those below."""
NAMES_ONLY = {"canonical", "author", "license", "next", "prev", "index", "search", "genindex", "up", "top"}
_IN_STYLES = re.compile(r"""(?:url\(\s*|@import\s+)["']?((?:https?:)?//[^"')\s]+)""")


class _Page(HTMLParser):
    """The links and anchors of a page, and the resources that it loads."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        self.anchors.update(filter(None, (values.get("id"), values.get("name"))))
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag == "link" and not set(values.get("rel", "").split()) & NAMES_ONLY:
            self.loads.append(values.get("href", ""))
        elif tag in LOADS and values.get(LOADS[tag]):
            self.loads.append(values[LOADS[tag]])
        self.loads += _IN_STYLES.findall(values.get("style", ""))


def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text("utf-8"))
    return page


def _elsewhere(address: str) -> bool:
    return bool(urlsplit(address).netloc)


def problems(out: Path) -> list[str]:
    """Return the problems of a site, one per line: broken links, and resources loaded from other hosts."""
    found = []
    read = {path: _read(path) for path in sorted(out.rglob("*.html"))}
    for path, page in read.items():
        name = path.relative_to(out)
        found += [f"{name} loads {address}" for address in page.loads if _elsewhere(address)]
        for link in [*page.links, *page.loads]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if there.is_dir():
                found.append(f"{name} links to {link}: a folder, which a site of files does not show")
            elif not there.exists():
                found.append(f"{name} links to {link}: there is no such file")
            elif parts.fragment and there in read and unquote(parts.fragment) not in read[there].anchors:
                found.append(f"{name} links to {link}: there is no such anchor")
    for path in sorted([*out.rglob("*.css"), *out.rglob("*.svg")]):
        found += [f"{path.relative_to(out)} loads {address}" for address in _IN_STYLES.findall(path.read_text("utf-8"))]
    return found


MOVED = """\
<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Moved</title>
<meta http-equiv="refresh" content="0; url={0}"></head>
<body><main><p>This page is now <a href="{0}">{1}</a>.</p></main></body></html>
"""


def finish(out: Path, moved: Mapping[str, str]) -> None:
    """Make pages accessible, add the README's under the name that servers open, and drop what only Sphinx reads.

    Parameters
    ----------
    moved : mapping of str to str
        Pages of earlier versions, each with the one that it leads to.
    """
    for path in out.rglob("*.html"):
        path.write_text(accessible.put_right(path.read_text("utf-8")), "utf-8")
    shutil.copy(out / "README.html", out / "index.html")
    for before, now in moved.items():
        old = out / f"{before}.html"
        old.parent.mkdir(parents=True, exist_ok=True)
        old.write_text(MOVED.format(os.path.relpath(out / f"{now}.html", old.parent), now), "utf-8")
    for name in (".buildinfo", "objects.inv"):
        (out / name).unlink(missing_ok=True)
