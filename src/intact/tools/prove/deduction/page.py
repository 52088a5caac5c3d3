"""A deduction as a single HTML file without scripts or external resources; every fact links to its sources."""

from __future__ import annotations

from typing import Any

from intact._base.markup.render import environment
from intact.tools.prove.deduction.theory import Deduction


def html(deduction: Deduction, title: str) -> str:
    """Render the template `deduction.html.j2`, in which all text is escaped."""
    document: dict[str, Any] = deduction.as_dict()
    template = environment("intact.tools.prove", "deduction").get_template("deduction.html.j2")
    return template.render(title=title, **document)
