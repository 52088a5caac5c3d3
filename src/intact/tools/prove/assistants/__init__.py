"""Proof assistants behind one interface: Rocq, Metamath with a built-in checker, and Lean through its REPL."""

from __future__ import annotations

from typing import Final

from intact._base.errors import ParameterError
from intact._base.suggest import unknown_name
from intact.tools.prove.assistants.base import Assistant
from intact.tools.prove.assistants.lean import LeanAssistant
from intact.tools.prove.assistants.metamath import MetamathAssistant
from intact.tools.prove.assistants.rocq import RocqAssistant

ASSISTANTS: Final[dict[str, Assistant]] = {
    one.name: one for one in (RocqAssistant(), MetamathAssistant(), LeanAssistant())
}
"""All assistants by name."""


def find_assistant(name: str) -> Assistant:
    """Look up a proof assistant by name.

    Raises
    ------
    ParameterError
        If no assistant has that name. The message lists the available ones.
    """
    if name not in ASSISTANTS:
        raise ParameterError(unknown_name(f"no proof assistant named {name!r:.60}", name, list(ASSISTANTS)))
    return ASSISTANTS[name]
