"""A deduction as one HTML file: no script, nothing from elsewhere; every fact links to those it came from."""

from __future__ import annotations

from typing import Any

from intact._base.markup.render import environment
from intact.tools.prove.deduction.theory import Deduction


def html(deduction: Deduction, title: str) -> str:
    """Render the template `deduction.html.j2`, which escapes every text."""
    document: dict[str, Any] = deduction.as_dict()
    template = environment("intact.tools.prove", "deduction").get_template("deduction.html.j2")
    return template.render(title=title, **document)
