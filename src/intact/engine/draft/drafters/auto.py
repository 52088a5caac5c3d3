"""Look-up and recycling in one tree: the text's own repetition, and recycled candidates around it."""

from __future__ import annotations

from collections.abc import Sequence

from intact.engine.draft.base import GREEDY, Drafter, DrawContext, Observed, Tree
from intact.engine.draft.drafters.lookup import Lookup, LookupDraft
from intact.engine.draft.drafters.recycling import Recycling, RecyclingDraft


class AutoDraft:
    """A chain from look-up, and a tree of candidates around it."""

    __slots__ = ("_lookup", "_recycling")

    def __init__(self, lookup: LookupDraft, recycling: RecyclingDraft) -> None:
        self._lookup, self._recycling = lookup, recycling

    def extend(self, tokens: Sequence[int]) -> None:
        """Extend both drafts."""
        self._lookup.extend(tokens)
        self._recycling.extend(tokens)

    def propose(self, limit: int, floor: float = 0.0) -> Tree | None:
        """Return the likeliest nodes of both."""
        return self._recycling.grow(limit, floor, *self._lookup.guess(limit, floor))


class Auto(Drafter):
    """The default drafter: look-up where the text repeats itself, recycling elsewhere."""

    name = "auto"

    def __init__(self, vocabulary: int, trees: bool = True) -> None:
        self.trees = trees
        self._lookup, self._recycling = Lookup(vocabulary, trees), Recycling(vocabulary, trees)
        self.candidates = self._recycling.candidates

    def open(self, tokens: Sequence[int], draws: DrawContext = GREEDY) -> AutoDraft:
        """Return a draft of both."""
        return AutoDraft(self._lookup.open(tokens, draws), self._recycling.open(tokens, draws))

    def learn(self, observed: Observed) -> None:
        """Let recycling learn."""
        self._recycling.learn(observed)
