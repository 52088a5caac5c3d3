"""Proofs as a single HTML file without scripts or external resources; it shows the goals after each step."""

from __future__ import annotations

from collections.abc import Sequence

from intact._base.errors import ParameterError
from intact._base.markup.render import environment
from intact.tools.prove.assistants.base import Assistant
from intact.tools.prove.assistants.transcript import ProofTranscript

MOST_STEPS = 20_000
"""Maximum number of steps on a page."""


def html(proofs: Sequence[ProofTranscript], assistant: Assistant, title: str) -> str:
    """Render the template `proofs.html.j2`, in which all text is escaped.

    Raises
    ------
    ParameterError
        If the proofs have more than `MOST_STEPS` steps.
    """
    steps = sum(len(one.steps) for one in proofs)
    if steps > MOST_STEPS:
        raise ParameterError(
            f"a page may have at most {MOST_STEPS:,} steps, but the proofs have {steps:,}: choose one with --theorem"
        )
    template = environment("intact.tools.prove", "assistants").get_template("proofs.html.j2")
    return template.render(title=title, proofs=proofs, assistant=assistant)
