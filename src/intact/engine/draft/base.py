"""Parts of every drafter: trees of guesses, the protocol, and how often guesses of a kind are accepted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


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


class Draft(Protocol):
    """The guesses for one sequence."""

    def extend(self, tokens: Sequence[int]) -> None:
        """Append the tokens that the text went on with."""

    def propose(self, limit: int, floor: float = 0.0) -> Tree | None:
        """Return a tree of at most `limit` nodes, none with a chance below `floor`.

        The guess is compared with the tokens of the next `extend`, even if limit 0 cut it to nothing: so acceptance is
        measured also while nothing is drafted.
        """


class Drafter(Protocol):
    """A source of drafts, with all that the sequences of an engine learn together.

    A class of a file in `draft/drafters/` that has these attributes and methods, or one that an entry point of the
    group `intact.drafters` names, is a choice of `drafter=`; it is made as ``Class(vocabulary, trees)``.

    Attributes
    ----------
    name : str
    candidates : int
        How many of the likeliest tokens after each row `learn` needs; 0 if it learns nothing.
    trees : bool
        If true, guesses may branch. If not, every tree is a chain: parents -1, 0, 1, ...
    """

    name: str
    candidates: int
    trees: bool

    def open(self, tokens: Sequence[int]) -> Draft:
        """Return a draft for a sequence with this text. Forks open their own; shared state is not copied."""

    def learn(self, tokens: NDArray[np.int32], candidates: NDArray[np.int32]) -> None:
        """Learn from a step: tokens (m,) that were run, and the likeliest to follow each (m, k), best first.

        It is called before the drafts are extended by the same tokens, and must not count as known when they are.
        """


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
