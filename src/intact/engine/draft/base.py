"""Common parts of the drafters: trees of guesses, the drafter protocol, and acceptance statistics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from intact.engine.hidden import KeptRows
from intact.engine.sampling.state import Rules
from intact.executors.base import Executor
from intact.numerics.sampling import Sampling


class Tree(NamedTuple):
    """A tree of guesses, likeliest first: its first m nodes form the best tree of m nodes.

    Attributes
    ----------
    tokens : int32 (nodes,)
    parents : int32 (nodes,)
        Index of the parent node, less than the node's own; -1 for the last token of the sequence. Siblings differ.
    chances : tuple of float
        Estimated probability that each node is accepted, including all nodes before it; never increasing.
    origins : tuple of str
        Name of the drafter that guessed each node.
    """

    tokens: NDArray[np.int32]
    parents: NDArray[np.int32]
    chances: tuple[float, ...]
    origins: tuple[str, ...]

    @property
    def is_chain(self) -> bool:
        """True if each node is the child of the one before."""
        return bool((self.parents == np.arange(-1, len(self.parents) - 1)).all())

    def child(self, parent: int, token: int) -> int | None:
        """Return the child of a node (-1: the last token of the sequence) with this token, or None."""
        found = np.flatnonzero((self.parents == parent) & (self.tokens == token))
        return int(found[0]) if len(found) else None

    def cut(self, count: int) -> Tree | None:
        """Return the best tree of at most `count` nodes, or None if it would be empty."""
        if count >= len(self.tokens):
            return self
        if count <= 0:
            return None
        return Tree(self.tokens[:count], self.parents[:count], self.chances[:count], self.origins[:count])


def make_tree(
    tokens: Sequence[int], parents: Sequence[int], chances: Sequence[float], origins: Sequence[str]
) -> Tree | None:
    """Build a tree from lists; return None if they are empty."""
    if not tokens:
        return None
    return Tree(np.array(tokens, np.int32), np.array(parents, np.int32), tuple(chances), tuple(origins))


def make_chain(tokens: Sequence[int], chances: Sequence[float], origin: str) -> Tree | None:
    """Build a tree in which each token follows the one before; return None if there are no tokens."""
    count = len(tokens)
    return make_tree(tokens, range(-1, count - 1), chances, [origin] * count)


class DrawContext(NamedTuple):
    """The parameters of a sequence's draws, for drafters that simulate the draw.

    Attributes
    ----------
    sampling : Sampling
        Temperature and filters.
    key : int
        Random key of the branch; with a position, it determines the random number of the draw there.
    rules : callable
        Returns a copy of the rules at the end of the sequence, for looking ahead; None without rules.
    samples : int
        Number of samples of the request.
    """

    sampling: Sampling
    key: int
    rules: Callable[[], Rules | None] = lambda: None
    samples: int = 1


GREEDY = DrawContext(Sampling(), 0)
"""A greedy `DrawContext` without rules."""


class Observed(NamedTuple):
    """Rows of a step that drafters learn from.

    Attributes
    ----------
    tokens : int32 (m,)
        Tokens that were run.
    before : int32 (m, context)
        Tokens before each, the nearest last; -1 before the start of the sequence.
    candidates : int32 (m, candidates)
        Most likely tokens to follow each, best first.
    gaps : int64 (m, candidates)
        Distance of each candidate's logit below the best one's, in Q16.
    """

    tokens: NDArray[np.int32]
    before: NDArray[np.int32]
    candidates: NDArray[np.int32]
    gaps: NDArray[np.int64]


class Terms(NamedTuple):
    """The current costs of a step.

    Attributes
    ----------
    floor : float
        Acceptance probability below which a node is not worth its row.
    seconds : float
        Time of a step without drafts.
    """

    floor: float
    seconds: float


class Draft(Protocol):
    """The guesses for one sequence."""

    def extend(self, tokens: Sequence[int]) -> None:
        """Append the tokens that were generated."""

    def propose(self, limit: int, floor: float = 0.0) -> Tree | None:
        """Return a tree of at most `limit` nodes, none with a chance below `floor`.

        The guess is compared with the tokens of the next `extend`, even if a limit of 0 made the tree empty, so
        acceptance is also measured while drafting is paused.
        """


class ReadingDraft(Draft, Protocol):
    """The guesses of a drafter that reads `hidden` rows."""

    def read(self, rows: KeptRows) -> None:
        """Add the hidden states of the newest tokens, except the very last one; called after `extend`."""


class Drafter(Protocol):
    """A source of drafts, with the state that all sequences of an engine share.

    A subclass in a file of `draft/drafters/`, or one registered under the entry point group `intact.drafters`, can be
    selected with `drafter=`; it is constructed as ``Class(vocabulary, trees)``.

    Attributes
    ----------
    name : str
    candidates, context : int
        Number of most likely tokens per row that `learn` needs, 0 if it learns nothing; number of tokens it needs
        before the row's own.
    hidden : int
        Number of most recent hidden states, one per token, that drafts read; 0: none.
    trees : bool
        If true, guesses may branch. Otherwise every tree is a chain, with parents -1, 0, 1, ...
    """

    name: str
    candidates: int = 0
    context: int = 0
    hidden: int = 0
    trees: bool

    def hidden_rows(self, executor: Executor, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return the hidden states that drafts read, for some of the wanted rows of the model's last step."""
        return executor.head_inputs(rows)

    def open(self, tokens: Sequence[int], draws: DrawContext = GREEDY) -> Draft:
        """Return a draft for a sequence with these tokens, whose next tokens are drawn according to `draws`.

        Forks open their own draft; shared state is not copied.
        """

    def prepare(
        self,
        drafts: Sequence[Any],
        limits: Sequence[int],
        terms: Terms,
        covered: Sequence[Sequence[float]] = (),
    ) -> None:
        """Do the work shared by all drafts of this drafter, before each of them proposes up to `limits` nodes.

        Parameters
        ----------
        covered : for each draft a sequence of float
            Probability, per depth, that a guess of another drafter is accepted there.
        """
        return

    def learn(self, observed: Observed) -> None:
        """Learn from a step; called before the drafts are extended, whose guesses are scored by the earlier state."""
        return

    def close(self) -> None:
        """Free the drafter's resources."""
        return


CEILING = 0.98


class Acceptance:
    """Acceptance rate of the guesses of each class: decaying counts over a prior.

    Guesses count even if they were not run.

    Parameters
    ----------
    priors : sequence of float
        Initial acceptance rate of each class.
    weight : float
        Number of observations that the prior is worth.
    memory : float
        Number of observations that count: each new one of a class decays the older ones by 1 - 1 / memory.
    """

    def __init__(self, priors: Sequence[float], weight: float = 6.0, memory: float = 300.0) -> None:
        self._priors, self._weight, self._keep = priors, weight, 1 - 1 / memory
        self._hits, self._trials = [0.0] * len(priors), [0.0] * len(priors)
        self.chances = list(priors)

    def observe(self, kind: int, hit: bool) -> None:
        """Record whether a guess of a class was accepted."""
        self._hits[kind] = hits = self._keep * self._hits[kind] + hit
        self._trials[kind] = trials = self._keep * self._trials[kind] + 1
        self.chances[kind] = (hits + self._priors[kind] * self._weight) / (trials + self._weight)


class RelativeAcceptance:
    """A sequence's acceptance relative to the average: decaying sums of accepted over expected guesses.

    Attributes
    ----------
    factor : float
        Ratio to the average; 1 for an average sequence.
    """

    __slots__ = ("_expected", "_hits", "factor")

    WEIGHT = 3.0
    KEEP = 1 - 1 / 24

    def __init__(self) -> None:
        self._hits = self._expected = 0.0
        self.factor = 1.0

    def observe(self, chance: float, hit: bool) -> None:
        """Record whether a guess with this average acceptance rate was accepted."""
        self._hits = self.KEEP * self._hits + hit
        self._expected = self.KEEP * self._expected + chance
        self.factor = (self._hits + self.WEIGHT) / (self._expected + self.WEIGHT)
