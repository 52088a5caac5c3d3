"""Token Recycling (Luo et al. 2024): the likely successors of a token are guesses when the token comes again."""

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
"""Steps whose rows wait to be learnt."""
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
        growth = Growth(self._drafter.rows(self._relative.factor), Recycling.name, self._drafter.trees, floor)
        return growth.run((self._last,), limit, tokens, chances)


class Recycling(Drafter):
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
        self._learnt: list[Observed] = []

    def open(self, tokens: Sequence[int], draws: DrawContext = GREEDY) -> RecyclingDraft:
        """Return a draft that goes on from the last token."""
        return RecyclingDraft(self, tokens[-1])

    def learn(self, observed: Observed) -> None:
        """Replace the candidates of tokens when the next guess is made; of a token's rows the last stays."""
        self._learnt.append(observed)
        if len(self._learnt) > PENDING:  # nobody asks at the moment
            self.settle()

    def settle(self) -> None:
        """Write what was learnt: after the step's own tokens were compared with what was known before it."""
        for observed in self._learnt:
            self.matrix[observed.tokens] = observed.candidates[:, :CANDIDATES] + 1
        self._learnt.clear()

    def rows(self, factor: float) -> Rows:
        """Return the function from a text's end and a depth to candidates and their chances, for `Growth`."""
        matrix = self.matrix
        chances = [[min(CEILING, factor * c) for c in depth.chances] for depth in self.acceptance]

        def row(context: tuple[int, ...], depth: int) -> tuple[list[int], list[float]]:
            row = matrix[context[-1]]
            candidates = (row - 1).tolist() if row[0] else []
            return candidates, chances[min(depth, DEEPEST - 1)]

        return row

    def observe(self, depth: int, before: int, token: int, relative: RelativeAcceptance) -> None:
        """Count the rank of a token that followed another."""
        row = self.matrix[before].tolist()
        if not row[0]:
            return
        acceptance = self.acceptance[depth]
        relative.observe(min(CEILING, sum(acceptance.chances)), token + 1 in row)
        for rank, candidate in enumerate(row):
            acceptance.observe(rank, candidate == token + 1)
