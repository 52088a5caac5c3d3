"""Token Recycling (Luo et al. 2024): the likely successors of a token are guesses when the token comes again."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import count

import numpy as np
from numpy.typing import NDArray

from intact.engine.draft.base import CEILING, Acceptance, RelativeAcceptance, Tree, make_tree
from intact.system import zeroed

CANDIDATES = 8
DEEPEST = 4
"""The depth from which frequencies are shared."""
PRIORS = (0.4, 0.12, 0.06, 0.04, 0.03, 0.02, 0.015, 0.01)


class RecyclingDraft:
    """The draft of one sequence."""

    __slots__ = ("_drafter", "_last", "_proposed", "_relative")

    def __init__(self, drafter: Recycling, last: int) -> None:
        self._drafter, self._last, self._relative = drafter, last, RelativeAcceptance()
        self._proposed = False

    def extend(self, tokens: Sequence[int]) -> None:
        """Count at which rank of the matrix each token stood."""
        before = (self._last, *tokens)
        if self._proposed:
            for depth, token in enumerate(tokens):
                self._drafter.observe(min(depth, DEEPEST - 1), before[depth], token, self._relative)
            self._proposed = False
        self._last = before[-1]

    def propose(self, limit: int, floor: float = 0.0) -> Tree | None:
        """Return the likeliest nodes below the last token."""
        return self.grow(limit, floor, [], [])

    def grow(self, limit: int, floor: float, tokens: Sequence[int], chances: Sequence[float]) -> Tree | None:
        """Return a tree around another drafter's chain, whose chances are of tokens after accepted ones."""
        self._proposed = True
        self._drafter.settle()
        return _Growth(self._drafter, floor, self._relative.factor, tokens, chances).run(self._last, limit)


class Recycling:
    """Token Recycling (Luo et al., arXiv 2408.08696), with a tree that follows measured chances.

    The paper's tree has one shape of 80 nodes, found in advance. Here the node that is likeliest to be accepted comes
    next, by frequencies for each depth and rank, so that a tree of any size is the best one.

    Parameters
    ----------
    vocabulary : int
        Tokens; the matrix holds 8 candidates of each, 4 bytes a candidate, in memory that is taken when first written.
    """

    name = "recycling"
    candidates = CANDIDATES

    def __init__(self, vocabulary: int, trees: bool = True) -> None:
        self.trees = trees
        # The system gives zeroed pages when they are first written; NumPy's zeros may take the memory at once.
        memory = zeroed(vocabulary * CANDIDATES * 4)
        # A candidate plus 1; 0: not known.
        self.matrix = np.frombuffer(memory, np.int32).reshape(vocabulary, CANDIDATES)
        self.acceptance = [Acceptance(PRIORS) for _ in range(DEEPEST)]
        self._learnt: list[tuple[NDArray[np.int32], NDArray[np.int32]]] = []

    def open(self, tokens: Sequence[int]) -> RecyclingDraft:
        """Return a draft that goes on from the last token."""
        return RecyclingDraft(self, tokens[-1])

    def learn(self, tokens: NDArray[np.int32], candidates: NDArray[np.int32]) -> None:
        """Replace the candidates of tokens when the next guess is made; of a token's rows the last stays."""
        self._learnt.append((tokens, candidates))

    def settle(self) -> None:
        """Write what was learnt: after the step's own tokens were compared with what was known before it."""
        for tokens, candidates in self._learnt:
            self.matrix[tokens] = candidates + 1
        self._learnt.clear()

    def observe(self, depth: int, before: int, token: int, relative: RelativeAcceptance) -> None:
        """Count the rank of a token that followed another."""
        row = self.matrix[before].tolist()
        if not row[0]:
            return
        acceptance = self.acceptance[depth]
        relative.observe(min(CEILING, sum(acceptance.chances)), token + 1 in row)
        for rank, candidate in enumerate(row):
            acceptance.observe(rank, candidate == token + 1)


class _Growth:
    """Best-first growth: a node that is taken offers its children, and the candidate ranked after it."""

    def __init__(
        self, drafter: Recycling, floor: float, factor: float, chain: Sequence[int], links: Sequence[float]
    ) -> None:
        self._matrix, self._trees, self._floor = drafter.matrix, drafter.trees, floor
        self._chances = [[min(CEILING, factor * c) for c in depth.chances] for depth in drafter.acceptance]
        self._chain, self._links = chain, links
        self._offers: list[tuple[float, int, int, int, int, int, tuple[int, int, float, int] | None]] = []
        self._order = count()

    def _offer(
        self, chance: float, token: int, parent: int, depth: int, link: int, row: tuple[int, int, float, int] | None
    ) -> None:
        if chance >= self._floor:
            heappush(self._offers, (-chance, next(self._order), token, parent, depth, link, row))

    def _candidate(self, row: tuple[int, int, float, int], parent: int, depth: int, most: float) -> None:
        """Offer the next candidate of a row: (token before, rank, chance that is left, token to skip)."""
        before, rank, reach, other = row
        while rank < CANDIDATES and (token := int(self._matrix[before, rank]) - 1) >= 0:
            if token != other:
                chance = min(most, reach * self._chances[min(depth, DEEPEST - 1)][rank])
                self._offer(chance, token, parent, depth, len(self._chain), (before, rank, reach, other))
                return
            rank += 1

    def _below(self, before: int, parent: int, depth: int, reach: float, link: int) -> None:
        """Offer the children of a node: the chain's token, and candidates, which share the chance that it leaves."""
        other = -1
        if link < len(self._chain) and (self._trees or self._links[link] >= self._chances[min(depth, DEEPEST - 1)][0]):
            other = self._chain[link]
            self._offer(reach * self._links[link], other, parent, depth, link, None)
            if not self._trees:
                return
        left = reach * (1 - self._links[link]) if other >= 0 else reach
        self._candidate((before, 0, left, other), parent, depth, left)

    def run(self, last: int, limit: int) -> Tree | None:
        """Return a tree of at most so many nodes below a token."""
        tokens: list[int] = []
        parents: list[int] = []
        chances: list[float] = []
        origins: list[str] = []
        if limit > 0:
            self._below(last, -1, 0, 1.0, 0)
        while self._offers and len(tokens) < limit:
            negative, _, token, parent, depth, link, row = heappop(self._offers)
            tokens.append(token)
            parents.append(parent)
            chances.append(-negative)
            origins.append(Recycling.name if row else "lookup")
            if row and self._trees:
                before, rank, reach, other = row
                self._candidate((before, rank + 1, reach, other), parent, depth, -negative)
            self._below(token, len(tokens) - 1, depth + 1, -negative, link + 1)
        return make_tree(tokens, parents, chances, origins)
