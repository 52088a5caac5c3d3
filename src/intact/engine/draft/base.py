"""What a drafter is: it guesses how a text goes on, as a tree of tokens that the model then checks in one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Tree(NamedTuple):
    """Guesses, likeliest first, so that its first m nodes are the best tree of m nodes.

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
        """Whether each node follows the one before."""
        return bool((self.parents == np.arange(-1, len(self.parents) - 1)).all())

    def child(self, parent: int, token: int) -> int | None:
        """The node with this token below another (-1: the text's last token), if there is one."""
        found = np.flatnonzero((self.parents == parent) & (self.tokens == token))
        return int(found[0]) if len(found) else None

    def cut(self, count: int) -> Tree | None:
        """The best tree of at most `count` nodes; None if that is nothing."""
        if count >= len(self.tokens):
            return self
        if count <= 0:
            return None
        return Tree(self.tokens[:count], self.parents[:count], self.chances[:count], self.origins[:count])


def make_tree(
    tokens: Sequence[int], parents: Sequence[int], chances: Sequence[float], origins: Sequence[str]
) -> Tree | None:
    """A tree of lists; None if they are empty."""
    if not tokens:
        return None
    return Tree(np.array(tokens, np.int32), np.array(parents, np.int32), tuple(chances), tuple(origins))


class Draft(Protocol):
    """Guesses for one sequence."""

    def extend(self, tokens: Sequence[int]) -> None:
        """The text went on so."""

    def propose(self, limit: int, floor: float = 0.0) -> Tree | None:
        """At most `limit` nodes, none with a chance below `floor`.

        The guess is compared with what `extend` brings, even if limit 0 made nothing of it: so chances stay honest
        while nothing is drafted.
        """


class Drafter(Protocol):
    """Makes drafts, and holds what the sequences of an engine learn together.

    Attributes
    ----------
    name : str
    candidates : int
        How many of the likeliest tokens after a row `learn` wants; 0 if it learns nothing.
    trees : bool
        Whether guesses may branch. If not, every tree is a chain: parents -1, 0, 1, ...
    """

    name: str
    candidates: int
    trees: bool

    def open(self, tokens: Sequence[int]) -> Draft:
        """A draft for a sequence with this text. Forks open their own; what they share is not copied."""

    def learn(self, tokens: NDArray[np.int32], candidates: NDArray[np.int32]) -> None:
        """Tokens (m,) that were run, and the likeliest that follow each (m, k), best first.

        It comes before the drafts are told of the same tokens, and shall not count as known when they are.
        """
