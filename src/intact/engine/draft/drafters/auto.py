"""Both drafters at once: the text's own repetition, and recycled candidates beside it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from intact.engine.draft.base import Tree
from intact.engine.draft.drafters.lookup import Lookup, LookupDraft
from intact.engine.draft.drafters.recycling import Recycling, RecyclingDraft


class AutoDraft:
    """A chain from look-up, and a tree of candidates around it."""

    __slots__ = ("_lookup", "_recycling")

    def __init__(self, lookup: LookupDraft, recycling: RecyclingDraft) -> None:
        self._lookup, self._recycling = lookup, recycling

    def extend(self, tokens: Sequence[int]) -> None:
        """Both take the tokens."""
        self._lookup.extend(tokens)
        self._recycling.extend(tokens)

    def propose(self, limit: int, floor: float = 0.0) -> Tree | None:
        """The likeliest nodes of both."""
        return self._recycling.grow(limit, floor, *self._lookup.guess(limit, floor))


class Auto:
    """Look-up where the text repeats itself; recycling where it does not, or may not."""

    name = "auto"

    def __init__(self, vocabulary: int, trees: bool = True) -> None:
        self.trees = trees
        self._lookup, self._recycling = Lookup(trees), Recycling(vocabulary, trees)
        self.candidates = self._recycling.candidates

    def open(self, tokens: Sequence[int]) -> AutoDraft:
        """Drafts of both."""
        return AutoDraft(self._lookup.open(tokens), self._recycling.open(tokens))

    def learn(self, tokens: NDArray[np.int32], candidates: NDArray[np.int32]) -> None:
        """Recycling learns."""
        self._recycling.learn(tokens, candidates)
