"""Parts of every drafter: trees of guesses, the protocol, and how often guesses of a kind are accepted."""

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
    """A tree of guesses, likeliest first, so that its first m nodes are the best tree of m nodes.

    Attributes
    ----------
    tokens : int32 (nodes,)
    parents : int32 (nodes,)
        The index of the node before, less than the node's own; -1 for the text's last token. Siblings differ.
    chances : tuple of float
        How probably each node will be accepted (and so all before it); never rising.
    origins : tuple of str
        The drafter that guessed each node.
    """

    tokens: NDArray[np.int32]
    parents: NDArray[np.int32]
    chances: tuple[float, ...]
    origins: tuple[str, ...]

    @property
    def is_chain(self) -> bool:
        """True if each node follows the one before."""
        return bool((self.parents == np.arange(-1, len(self.parents) - 1)).all())

    def child(self, parent: int, token: int) -> int | None:
        """Return the node with this token below another (-1: the text's last token); None if there is none."""
        found = np.flatnonzero((self.parents == parent) & (self.tokens == token))
        return int(found[0]) if len(found) else None

    def cut(self, count: int) -> Tree | None:
        """Return the best tree of at most `count` nodes; None if that has none."""
        if count >= len(self.tokens):
            return self
        if count <= 0:
            return None
        return Tree(self.tokens[:count], self.parents[:count], self.chances[:count], self.origins[:count])


def make_tree(
    tokens: Sequence[int], parents: Sequence[int], chances: Sequence[float], origins: Sequence[str]
) -> Tree | None:
    """Return a tree of lists; None if they are empty."""
    if not tokens:
        return None
    return Tree(np.array(tokens, np.int32), np.array(parents, np.int32), tuple(chances), tuple(origins))


def make_chain(tokens: Sequence[int], chances: Sequence[float], origin: str) -> Tree | None:
    """Return a tree in which each token follows the one before; None if there is no token."""
    count = len(tokens)
    return make_tree(tokens, range(-1, count - 1), chances, [origin] * count)


class DrawContext(NamedTuple):
    """The parameters of a sequence's draws, for drafters that guess by the draw itself.

    Attributes
    ----------
    sampling : Sampling
        Temperature and filters.
    key : int
        The branch's key: with a position it gives the number that decides the draw there.
    rules : callable
        Returns a copy of the rules at the text's end, to look ahead with; None where there are none.
    samples : int
        Samples of the request.
    """

    sampling: Sampling
    key: int
    rules: Callable[[], Rules | None] = lambda: None
    samples: int = 1


GREEDY = DrawContext(Sampling(), 0)
"""DrawContext of the likeliest token, without rules."""


class Observed(NamedTuple):
    """Rows of a step that drafters learn from.

    Attributes
    ----------
    tokens : int32 (m,)
        The tokens that were run.
    before : int32 (m, context)
        The tokens before each, the nearest last; -1 where the text begins.
    candidates : int32 (m, candidates)
        The likeliest tokens to follow each, best first.
    gaps : int64 (m, candidates)
        How far each candidate's logit is below the first one's, in Q16.
    """

    tokens: NDArray[np.int32]
    before: NDArray[np.int32]
    candidates: NDArray[np.int32]
    gaps: NDArray[np.int64]


class Terms(NamedTuple):
    """The costs of a step at the moment.

    Attributes
    ----------
    floor : float
        The chance below which a node is not worth its row.
    seconds : float
        The time of a step without drafts.
    """

    floor: float
    seconds: float


class Draft(Protocol):
    """The guesses for one sequence."""

    def extend(self, tokens: Sequence[int]) -> None:
        """Append the tokens that the text went on with."""

    def propose(self, limit: int, floor: float = 0.0) -> Tree | None:
        """Return a tree of at most `limit` nodes, none with a chance below `floor`.

        The guess is compared with the tokens of the next `extend`, even if limit 0 cut it to nothing: so acceptance is
        measured also while nothing is drafted.
        """


class ReadingDraft(Draft, Protocol):
    """The guesses of a drafter with `hidden` rows."""

    def read(self, rows: KeptRows) -> None:
        """Take the hidden states behind the text's last tokens but the very last; called after `extend`."""


class Drafter(Protocol):
    """A source of drafts, with all that the sequences of an engine learn together.

    A subclass in a file of `draft/drafters/`, or one that an entry point of the group `intact.drafters` names, is a
    choice of `drafter=`; it is made as ``Class(vocabulary, trees)``.

    Attributes
    ----------
    name : str
    candidates, context : int
        How many of the likeliest tokens after each row `learn` needs, 0 if it learns nothing; and how many tokens
        before the row's own.
    hidden : int
        The number of the last hidden states, one for each token of the text, that drafts read; 0: none.
    trees : bool
        If true, guesses may branch. If not, every tree is a chain: parents -1, 0, 1, ...
    """

    name: str
    candidates: int = 0
    context: int = 0
    hidden: int = 0
    trees: bool

    def hidden_rows(self, executor: Executor, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return the hidden states that drafts read behind some of the wanted rows of the model's last step."""
        return executor.head_inputs(rows)

    def open(self, tokens: Sequence[int], draws: DrawContext = GREEDY) -> Draft:
        """Return a draft for a sequence with this text, whose next tokens are drawn as `draws` says.

        Forks open their own; shared state is not copied.
        """

    def prepare(
        self,
        drafts: Sequence[Any],
        limits: Sequence[int],
        terms: Terms,
        covered: Sequence[Sequence[float]] = (),
    ) -> None:
        """Do the work that drafts of this drafter have in common, before each proposes at most so many nodes.

        Parameters
        ----------
        covered : for each draft a sequence of float
            The chance at each depth that the guesses of other drafters come true there.
        """
        return

    def learn(self, observed: Observed) -> None:
        """Learn from a step. Called before the drafts are extended by its tokens: what it brings is not known yet."""
        return

    def close(self) -> None:
        """Free what the drafter holds."""
        return


CEILING = 0.98


class Acceptance:
    """The frequency with which guesses of each class are accepted: decaying counts over a prior.

    Guesses count whether or not they were run.

    Parameters
    ----------
    priors : sequence of float
        The frequency of each class before anything was observed.
    weight : float
        The number of observations that the prior is worth.
    memory : float
        The number of observations that count: older ones fade by 1 - 1 / memory with each new one of the class.
    """

    def __init__(self, priors: Sequence[float], weight: float = 6.0, memory: float = 300.0) -> None:
        self._priors, self._weight, self._keep = priors, weight, 1 - 1 / memory
        self._hits, self._trials = [0.0] * len(priors), [0.0] * len(priors)
        self.chances = list(priors)

    def observe(self, kind: int, hit: bool) -> None:
        """Count a guess of a class, which was accepted or not."""
        self._hits[kind] = hits = self._keep * self._hits[kind] + hit
        self._trials[kind] = trials = self._keep * self._trials[kind] + 1
        self.chances[kind] = (hits + self._priors[kind] * self._weight) / (trials + self._weight)


class RelativeAcceptance:
    """A sequence's acceptance relative to the average: decaying sums of accepted over expected guesses.

    Attributes
    ----------
    factor : float
        1 for a sequence like the average.
    """

    __slots__ = ("_expected", "_hits", "factor")

    WEIGHT = 3.0
    KEEP = 1 - 1 / 24

    def __init__(self) -> None:
        self._hits = self._expected = 0.0
        self.factor = 1.0

    def observe(self, chance: float, hit: bool) -> None:
        """Count a guess that has this chance on average, and was accepted or not."""
        self._hits = self.KEEP * self._hits + hit
        self._expected = self.KEEP * self._expected + chance
        self.factor = (self._hits + self.WEIGHT) / (self._expected + self.WEIGHT)
