"""Fixes for theme markup that screen readers and the keyboard cannot use, applied to the generated pages."""

from __future__ import annotations

import re

_LINES = re.compile(r"<dl>\s*((?:<dd>(?:(?!<d[ltd]>).)*?</dd>\s*)+)</dl>", re.DOTALL)
"""A signature of several lines, which the theme renders as a definition list without terms."""
REPLACED = (
    ('class="caption" role="heading"', 'class="caption" role="heading" aria-level="2"'),
    ('<aside class="sidebar-drawer">', '<aside class="sidebar-drawer" aria-label="Pages">'),
    ('<aside class="toc-drawer', '<aside aria-label="Contents of this page" class="toc-drawer'),
    ('<th class="head"><p></p></th>', "<td></td>"),
    ("<pre>", '<pre tabindex="0">'),
    ('<div class="table-wrapper', '<div tabindex="0" class="table-wrapper'),
    ('<div id="search-results"></div>', '<h1>Search</h1><div id="search-results"></div>'),
)


def put_right(page: str) -> str:
    """Return a page with the problems that axe reports fixed."""
    for old, new in REPLACED:
        page = page.replace(old, new)
    return _LINES.sub(_as_lines, page)


def _as_lines(found: re.Match[str]) -> str:
    lines = found[1].replace("<dd>", "<span>").replace("</dd>", "</span>")
    return f'<span class="lines">{lines}</span>'
