"""Drafting: guesses of what comes next, which the model checks in one step; they change the time, never the text.

An engine's step, for the sequences that decode:

    drafts = None for each sequence; if controller.interested(len(sequences), prompt_rows), the open drafts, made by
        drafter.open(prompt), then told of what came since by draft.extend(tokens)
    trees = controller.propose(drafts, limits, prompt_rows)
    run each sequence's last token and its tree as one chunk; draw after that token with the sequence's own key, and
        while what was drawn is a child (tree.child), after that: this is the path
    controller.report(trees, paths)
    if controller.learning and drafter.candidates:
        drafter.learn(tokens run and kept, executor.likeliest(logits, their rows, drafter.candidates))
"""

from __future__ import annotations

from collections.abc import Callable

from intact.engine.draft.drafters.auto import Auto
from intact.engine.draft.base import Draft, Drafter, Tree
from intact.engine.draft.controller import Controller, Statistics
from intact.engine.draft.drafters.lookup import Lookup
from intact.engine.draft.drafters.recycling import Recycling
from intact.errors import ParameterError

__all__ = ["DRAFTERS", "Controller", "Draft", "Drafter", "Statistics", "Tree", "make_drafter"]

_MAKERS: dict[str, Callable[[int, bool], Drafter]] = {
    Auto.name: Auto,
    Lookup.name: lambda vocabulary, trees: Lookup(trees),
    Recycling.name: Recycling,
}
DRAFTERS = tuple(_MAKERS)


def make_drafter(name: str, vocabulary: int, trees: bool) -> Drafter:
    """A drafter by its name.

    Parameters
    ----------
    vocabulary : int
        Tokens of the model.
    trees : bool
        Whether the executor runs trees; else drafts are chains.

    Raises
    ------
    ParameterError
        If the name is unknown.
    """
    if name not in _MAKERS:
        raise ParameterError(f"a drafter is one of {', '.join(DRAFTERS)}, got {name!r}")
    return _MAKERS[name](vocabulary, trees)
