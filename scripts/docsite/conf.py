"""Sphinx's settings (scripts/docsite/__main__.py runs it)."""

from __future__ import annotations

import re
from typing import Any

import folders
import pages

import intact

project = "intact"
author = "the authors of intact"
release = version = intact.__version__
root_doc = "README"
include_patterns = [
    "*.md",
    "docs/**.md",
    "study/**.md",
    "benchmarks/**.md",
    "examples/**.md",
    "folders/**",
    "reference/**",
]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
default_role = "py:obj"
suppress_warnings = ["ref.python"]  # a field that a docstring names may be that of several classes

myst_heading_anchors = 6
myst_all_links_external = False

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Attributes", "params_style")]
napoleon_preprocess_types = False
python_use_unqualified_type_names = True
maximum_signature_line_length = 80

html_theme = "furo"
html_title = f"intact {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_use_index = True
html_permalinks_icon = "#"
html_favicon = "../../src/intact/serve/page/icon.svg"


def _add_navigation(app: Any, page: str, source: list[str]) -> None:
    """Turn a page of the repository into one of the site: add lists of subpages, and replace links to folders."""
    root = app.srcdir
    path = app.env.doc2path(page)
    if path.suffix == ".md":
        source[0] = folders.replaced(root, path, source[0]) + pages.navigation(root, page)


_PAGE = re.compile(r"(?<![`/\w])((?:docs|study)/[\w/]+)\.md")


def _link_pages(_app: Any, _what: str, _name: str, _value: Any, _options: Any, lines: list[str]) -> None:
    """Make the pages that a docstring names links."""
    lines[:] = [_PAGE.sub(r":doc:`\1.md </\1>`", line) for line in lines]


def setup(app: Any) -> None:
    """Register the handlers with Sphinx."""
    app.connect("autodoc-process-docstring", _link_pages)
    app.connect("source-read", _add_navigation)
