"""A report as one HTML file, without scripts or external resources, for screens of any width and for printing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from intact._base.markup.render import environment, without_controls
from intact.evaluate.report.blocks import Picture, ReportDocument, TextTree

if TYPE_CHECKING:
    from markupsafe import Markup

_IDS = re.compile(r'(\bid="|href="#|url\(#)')


def html(report: ReportDocument, refresh: int | None = None) -> str:
    """Render the template `report.html.j2`, which escapes all text; control characters become U+FFFD.

    Parameters
    ----------
    refresh : int, optional
        Seconds after which a browser reloads the page.
    """
    templates = environment("intact.evaluate", "report")
    templates.filters |= {"kind": lambda block: type(block).__name__, "svg": _svg, "walk": _walk}
    return templates.get_template("report.html.j2").render(report=report, refresh=refresh)


def _svg(picture: Picture, prefix: str) -> Markup:
    """Return a picture as markup, with its caption as the label and a prefix that makes its identifiers unique."""
    from markupsafe import Markup

    start, rest = _IDS.sub(rf"\g<1>{prefix}", picture.svg).split("<svg ", 1)
    label = Markup('<svg role="img" aria-label="{}" ').format(without_controls(picture.caption))
    return Markup(start) + label + Markup(rest)


def _walk(trees: Sequence[TextTree]) -> Iterator[tuple[TextTree, int]]:
    """Yield trees in preorder, each with the number of trees that end there; the depth is not limited."""
    stack = [(tree, 0) for tree in reversed(trees)]
    while stack:
        tree, above = stack.pop()
        if tree.inner:
            stack.append((tree.inner[-1], above + 1))
            stack += [(inner, 0) for inner in reversed(tree.inner[:-1])]
        yield tree, 0 if tree.inner else above + 1
