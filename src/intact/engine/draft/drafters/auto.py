"""Look-up and likely successors in one tree: the text's own repetition, and candidates around it."""

from __future__ import annotations

from collections.abc import Sequence

from intact.engine.draft.base import GREEDY, Drafter, DrawContext, Observed, Tree
from intact.engine.draft.drafters.lookup import Lookup, LookupDraft
from intact.engine.draft.drafters.recycling import Recycling, RecyclingDraft
from intact.engine.draft.drafters.stand import Stand, StandDraft


class AutoDraft:
    """A chain from look-up, and a tree of candidates around it."""

    __slots__ = ("_candidates", "_lookup")

    def __init__(self, lookup: LookupDraft, candidates: RecyclingDraft | StandDraft) -> None:
        self._lookup, self._candidates = lookup, candidates

    def extend(self, tokens: Sequence[int]) -> None:
        """Extend both drafts."""
        self._lookup.extend(tokens)
        self._candidates.extend(tokens)

    def propose(self, limit: int, floor: float = 0.0) -> Tree | None:
        """Return the likeliest nodes of both."""
        return self._candidates.grow(limit, floor, *self._lookup.guess(limit, floor))


class Auto(Drafter):
    """The default drafter: look-up where the text repeats itself; elsewhere recycling, or STAND in several samples.

    STAND takes twice the time of recycling, and guesses better once it has seen other samples of the same prompt. So
    it has the prompts of several samples, and those that come again.
    """

    name = "auto"
    candidates = Stand.candidates
    context = Stand.context

    def __init__(self, vocabulary: int, trees: bool = True) -> None:
        self.trees = trees
        self._lookup, self._recycling = Lookup(vocabulary, trees), Recycling(vocabulary, trees)
        self._stand = Stand(vocabulary, trees)
        self.candidates = self._stand.candidates
        self._several = False  # STAND has had a prompt

    def open(self, tokens: Sequence[int], draws: DrawContext = GREEDY) -> AutoDraft:
        """Return a draft of look-up and one of the others."""
        several = draws.samples > 1 or self._lookup.knows(tokens)
        self._several |= several
        candidates = self._stand if several else self._recycling
        return AutoDraft(self._lookup.open(tokens, draws), candidates.open(tokens, draws))

    def learn(self, observed: Observed) -> None:
        """Let recycling learn, and STAND once it has a prompt."""
        self._recycling.learn(observed)
        if self._several:
            self._stand.learn(observed)
