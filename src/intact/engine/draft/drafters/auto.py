"""The default drafter: prompt lookup and a tree of likely successors around it."""

from __future__ import annotations

from collections.abc import Sequence

from intact.engine.draft.base import GREEDY, Drafter, DrawContext, Observed, Tree
from intact.engine.draft.drafters.lookup import Lookup, LookupDraft
from intact.engine.draft.drafters.recycling import Recycling, RecyclingDraft
from intact.engine.draft.drafters.stand import Stand, StandDraft


class AutoDraft:
    """A chain from prompt lookup, with a tree of candidates around it."""

    __slots__ = ("_candidates", "_lookup")

    def __init__(self, lookup: LookupDraft, candidates: RecyclingDraft | StandDraft) -> None:
        self._lookup, self._candidates = lookup, candidates

    def extend(self, tokens: Sequence[int]) -> None:
        """Extend both drafts."""
        self._lookup.extend(tokens)
        self._candidates.extend(tokens)

    def propose(self, limit: int, floor: float = 0.0) -> Tree | None:
        """Return the likeliest nodes of both drafts."""
        return self._candidates.grow(limit, floor, *self._lookup.guess(limit, floor))


class Auto(Drafter):
    """The default drafter: prompt lookup where the text repeats itself, else recycling, or STAND for several samples.

    STAND takes twice the time of recycling, but guesses better once it has seen other samples of the same prompt. It is
    therefore used for requests with several samples and for repeated prompts.
    """

    name = "auto"
    candidates = Stand.candidates
    context = Stand.context

    def __init__(self, vocabulary: int, trees: bool = True) -> None:
        self.trees = trees
        self._lookup, self._recycling = Lookup(vocabulary, trees), Recycling(vocabulary, trees)
        self._stand = Stand(vocabulary, trees)
        self.candidates = self._stand.candidates
        self._several = False  # STAND has been used for a prompt

    def open(self, tokens: Sequence[int], draws: DrawContext = GREEDY) -> AutoDraft:
        """Return a lookup draft combined with a recycling or STAND draft."""
        several = draws.samples > 1 or self._lookup.knows(tokens)
        self._several |= several
        candidates = self._stand if several else self._recycling
        return AutoDraft(self._lookup.open(tokens, draws), candidates.open(tokens, draws))

    def learn(self, observed: Observed) -> None:
        """Update recycling, and STAND once a prompt has used it."""
        self._recycling.learn(observed)
        if self._several:
            self._stand.learn(observed)
