"""STAND (Song et al. 2025), adapted: candidates after n-grams, drawn with the random numbers of their positions."""

from __future__ import annotations

from collections.abc import Sequence
from math import e, log2
from typing import Final

import numpy as np

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
from intact.engine.draft.growth import CONTEXT, Growth
from intact.engine.draft.ngrams import LONGEST, WIDTH, NgramStore
from intact.numerics.sampling import DECIMALS, Sampling, uniform64

LOG2E: Final = log2(e)

SHARES: Final = 8
"""Number of classes for the first candidate's share of the weight."""
PENDING: Final = 64
"""Maximum number of steps whose rows wait to be learnt."""
AT_ONCE: Final = 16
"""Number of rows that are learnt together."""
CLASSES: Final = LONGEST * SHARES
BELOW: Final = (0.5, 0.2, 0.1, 0.06, 0.04, 0.03, 0.02, 0.02, 0.01)
"""Initial estimate of the acceptance rates of the other candidates when the first is rejected."""


def _first_frequencies() -> list[float]:
    """Return the initial acceptance rates by class and rank."""
    found: list[float] = []
    for kind in range(CLASSES):
        hit = 0.1 + 0.8 * (kind % SHARES + 0.5) / SHARES
        found += [hit, *((1 - hit) * share for share in BELOW)]
    return found


def rank(tokens: Sequence[int], gaps: Sequence[float], sampling: Sampling, uniform: float) -> tuple[list[int], float]:
    """Return candidates in the order in which to guess them, and the first one's share of the total weight.

    The first is the token that a draw with this uniform number gives; the others follow by weight. The draw follows
    `numerics.sampling`, but in floating point and over the candidates only: errors are harmless, since guesses are
    checked.

    Parameters
    ----------
    tokens, gaps
        Candidates, likeliest first, and the distances of their logits below the first one's, in nats.
    uniform : float
        Random number of the position, in [0, 1).
    """
    bits = sampling.slope / (1 << 30) or LOG2E
    weights = [2 ** (-gap * bits) for gap in gaps]
    kept = len(tokens)
    if sampling.slope:
        kept = _filtered(weights, sampling)
    total = sum(weights[:kept])
    first = 0
    if sampling.slope:
        target = uniform * total
        for place in sorted(range(kept), key=tokens.__getitem__):
            first, target = place, target - weights[place]
            if target < 0:
                break
    order = [tokens[first], *tokens[:first], *tokens[first + 1 :]]
    return order, weights[first] / total


def _filtered(weights: Sequence[float], sampling: Sampling) -> int:
    """Return the number of candidates that the filters keep."""
    kept = len(weights) if not sampling.top_k else min(len(weights), sampling.top_k)
    if sampling.top_p < DECIMALS:
        needed, mass = sum(weights[:kept]) * sampling.top_p / DECIMALS, 0.0
        for place in range(kept):
            mass += weights[place]
            if mass >= needed:
                kept = place + 1
                break
    if sampling.min_p:
        least = sampling.min_p / DECIMALS
        kept = max(1, sum(weight >= least for weight in weights[:kept]))
    return kept


class StandDraft:
    """The draft of one sequence: its last tokens, and the random numbers of the coming positions."""

    __slots__ = ("_context", "_drafter", "_draws", "_position", "_proposed", "_relative", "_uniforms")

    def __init__(self, drafter: Stand, tokens: Sequence[int], draws: DrawContext) -> None:
        self._drafter, self._draws, self._relative = drafter, draws, RelativeAcceptance()
        self._context, self._position = tuple(tokens[-CONTEXT:]), len(tokens)
        self._uniforms: dict[int, float] = {}
        self._proposed = False

    def extend(self, tokens: Sequence[int]) -> None:
        """Record the rank of each token among the candidates."""
        for token in tokens:
            if self._proposed and (found := self._ranked(self._context, self._position)) is not None:
                self._drafter.observe(self._acceptance, *found, token, self._relative)
            self._context = (*self._context[1 - CONTEXT :], token)
            self._position += 1
        self._proposed = False
        self._uniforms = {place: u for place, u in self._uniforms.items() if place >= self._position}

    def propose(self, limit: int, floor: float = 0.0) -> Tree | None:
        """Return the likeliest nodes below the last token."""
        return self.grow(limit, floor, [], [])

    def grow(self, limit: int, floor: float, tokens: Sequence[int], chances: Sequence[float]) -> Tree | None:
        """Return a tree around another drafter's chain, whose chances assume that the tokens before are accepted."""
        self._proposed = True
        self._drafter.settle()
        return Growth(self._rows, Stand.name, self._drafter.trees, floor).run(self._context, limit, tokens, chances)

    @property
    def _acceptance(self) -> Acceptance:
        return self._drafter.sampled if self._draws.sampling.slope else self._drafter.greedy

    def _uniform(self, position: int) -> float:
        """Return the random number in [0, 1) that determines the draw at a position."""
        found = self._uniforms.get(position)
        if found is None:
            found = self._uniforms[position] = uniform64(self._draws.key, position) / (1 << 64)
        return found

    def _ranked(self, context: tuple[int, ...], position: int) -> tuple[list[int], int] | None:
        """Return the candidates after a context in the order in which to guess them, and the class of their chances."""
        found = self._drafter.store.find(context)
        if found is None:
            return None
        sampling = self._draws.sampling
        tokens, gaps, length = found
        order, share = rank(tokens, gaps, sampling, self._uniform(position) if sampling.slope else 0.0)
        return order, (length - 1) * SHARES + min(SHARES - 1, int(share * SHARES))

    def _rows(self, context: tuple[int, ...], depth: int) -> tuple[Sequence[int], Sequence[float]]:
        """Return candidates and their chances, for `Growth`."""
        found = self._ranked(context, self._position + depth)
        if found is None:
            return (), ()
        order, kind = found
        factor, chances = self._relative.factor, self._acceptance.chances
        return order, [min(CEILING, factor * chance) for chance in chances[kind * WIDTH : (kind + 1) * WIDTH]]


class Stand(Drafter):
    """STAND (Stochastic Adaptive N-gram Drafting, arXiv 2506.04708), with the noise of the actual draws.

    The paper draws guesses with independent noise and accepts them by rejection sampling. Here the token at a position
    is a function of logits, key and position, so independent noise could only miss it. The guess is drawn with the
    random number that the position will use: where the stored candidates match the model's, it is the token that will
    be drawn, likely or not. The paper's fixed tree is replaced by growth along measured acceptance rates, as in
    `recycling`.
    """

    name = "stand"
    candidates = WIDTH
    context = LONGEST - 1

    def __init__(self, vocabulary: int, trees: bool = True) -> None:
        self.trees, self.candidates = trees, min(WIDTH, vocabulary)
        self.store = NgramStore(width=self.candidates)
        self.greedy, self.sampled = Acceptance(_first_frequencies()), Acceptance(_first_frequencies())
        self._learnt: list[Observed] = []

    def open(self, tokens: Sequence[int], draws: DrawContext = GREEDY) -> StandDraft:
        """Return a draft that continues from the last tokens."""
        return StandDraft(self, tokens, draws)

    def learn(self, observed: Observed) -> None:
        """Queue candidates, to be averaged into the n-grams when the next guess is made."""
        self._learnt.append(observed)
        if len(self._learnt) > PENDING:  # no guesses are being made at the moment
            self.settle()

    def settle(self) -> None:
        """Store what was learnt, in batches of many rows, which costs less per row.

        Called after the step's own tokens were compared with the previous state.
        """
        if self._learnt and (not len(self.store) or sum(len(one.tokens) for one in self._learnt) >= AT_ONCE):
            self.store.learn(Observed(*(np.concatenate(parts) for parts in zip(*self._learnt, strict=True))))
            self._learnt.clear()

    def observe(
        self, acceptance: Acceptance, order: list[int], kind: int, token: int, relative: RelativeAcceptance
    ) -> None:
        """Record the rank of a token among the candidates that were guessed in this order."""
        chances = acceptance.chances[kind * WIDTH : kind * WIDTH + len(order)]
        relative.observe(min(CEILING, sum(chances)), token in order)
        for place, candidate in enumerate(order):
            acceptance.observe(kind * WIDTH + place, candidate == token)
