"""Token Recycling (Luo et al. 2024): when a token recurs, guess the successors that were likely last time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from intact._base.system import zeroed
from intact.engine.draft.base import (
    CEILING,
    GREEDY,
    Acceptance,
    Drafter,
    DrawContext,
    Observed,
    RelativeAcceptance,
    Tree,
)
from intact.engine.draft.growth import Growth, Rows

CANDIDATES = 8
PENDING = 64
"""Maximum number of steps whose rows wait to be learnt."""
DEEPEST = 4
"""Number of depths with acceptance rates of their own; deeper nodes share the last."""
PRIORS = (0.4, 0.12, 0.06, 0.04, 0.03, 0.02, 0.015, 0.01)


class RecyclingDraft:
    """The draft of one sequence."""

    __slots__ = ("_drafter", "_last", "_proposed", "_relative")

    def __init__(self, drafter: Recycling, last: int) -> None:
        self._drafter, self._last, self._relative = drafter, last, RelativeAcceptance()
        self._proposed = False

    def extend(self, tokens: Sequence[int]) -> None:
        """Record the rank of each token among the candidates."""
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
        """Return a tree around another drafter's chain, whose chances assume that the tokens before are accepted."""
        self._proposed = True
        self._drafter.settle()
        growth = Growth(self._drafter.rows(self._relative.factor), Recycling.name, self._drafter.trees, floor)
        return growth.run((self._last,), limit, tokens, chances)


class Recycling(Drafter):
    """Token Recycling (Luo et al., arXiv 2408.08696), with a tree grown by measured acceptance rates.

    The paper uses one fixed tree of 80 nodes, found in advance. Here the node most likely to be accepted is added next,
    using acceptance rates by depth and rank, so a tree of any size is the best one of that size.

    Parameters
    ----------
    vocabulary : int
        Vocabulary size; the matrix holds 8 candidates of 4 bytes per token, in memory that is allocated on first write.
    """

    name = "recycling"
    candidates = CANDIDATES

    def __init__(self, vocabulary: int, trees: bool = True) -> None:
        self.trees = trees
        # The system allocates zeroed pages on first write; np.zeros may allocate the memory at once.
        memory = zeroed(vocabulary * CANDIDATES * 4)
        # The candidate plus 1; 0: unknown.
        self.matrix = np.frombuffer(memory, np.int32).reshape(vocabulary, CANDIDATES)
        self.acceptance = [Acceptance(PRIORS) for _ in range(DEEPEST)]
        self._learnt: list[Observed] = []

    def open(self, tokens: Sequence[int], draws: DrawContext = GREEDY) -> RecyclingDraft:
        """Return a draft that continues from the last token."""
        return RecyclingDraft(self, tokens[-1])

    def learn(self, observed: Observed) -> None:
        """Queue candidates, to be stored at the next guess; a token's later rows replace earlier ones."""
        self._learnt.append(observed)
        if len(self._learnt) > PENDING:  # no guesses are being made at the moment
            self.settle()

    def settle(self) -> None:
        """Store what was learnt; called after the step's own tokens were compared with the previous state."""
        for observed in self._learnt:
            self.matrix[observed.tokens] = observed.candidates[:, :CANDIDATES] + 1
        self._learnt.clear()

    def rows(self, factor: float) -> Rows:
        """Return the function from which `Growth` gets the candidates and chances at a sequence's end and a depth."""
        matrix = self.matrix
        chances = [[min(CEILING, factor * c) for c in depth.chances] for depth in self.acceptance]

        def row(context: tuple[int, ...], depth: int) -> tuple[list[int], list[float]]:
            row = matrix[context[-1]]
            candidates = (row - 1).tolist() if row[0] else []
            return candidates, chances[min(depth, DEEPEST - 1)]

        return row

    def observe(self, depth: int, before: int, token: int, relative: RelativeAcceptance) -> None:
        """Record the rank of a token that followed another."""
        row = self.matrix[before].tolist()
        if not row[0]:
            return
        acceptance = self.acceptance[depth]
        relative.observe(min(CEILING, sum(acceptance.chances)), token + 1 in row)
        for rank, candidate in enumerate(row):
            acceptance.observe(rank, candidate == token + 1)
