"""Best-first growth of a tree: adding a node offers its children and the next candidate in rank."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple

from intact.engine.draft.base import Tree, make_tree

CONTEXT = 3
"""Maximum number of preceding tokens that candidates depend on."""
Rows = Callable[[tuple[int, ...], int], tuple[Sequence[int], Sequence[float]]]
"""Maps the last tokens of a sequence and a depth to candidates, best first, and their chances."""


class _Row(NamedTuple):
    """Candidates of one node; those at `rank` and beyond have not been offered yet."""

    tokens: Sequence[int]
    chances: Sequence[float]
    rank: int
    reach: float  # the chance shared by the candidates
    other: int  # a token to skip because the chain has it


class Growth:
    """Grows a tree of a drafter's candidates, around a chain of another drafter.

    Parameters
    ----------
    rows : callable
        Returns the candidates at the end of a sequence.
    name : str
        Name of the drafter.
    trees : bool
        If false, the tree is a chain.
    floor : float
        Minimum chance of a node.
    """

    def __init__(self, rows: Rows, name: str, trees: bool, floor: float) -> None:
        self._rows, self._name, self._trees, self._floor = rows, name, trees, floor
        self._chain: Sequence[int] = ()
        self._links: Sequence[float] = ()
        self._offers: list[tuple[float, int, int, int, int, int, tuple[int, ...], _Row | None]] = []
        self._order = count()

    def run(
        self, context: tuple[int, ...], limit: int, chain: Sequence[int] = (), links: Sequence[float] = ()
    ) -> Tree | None:
        """Grow a tree of at most `limit` nodes below the last tokens of a sequence.

        Parameters
        ----------
        chain, links
            Another drafter's guess: its tokens, and the chance of each given those before it.
        """
        self._chain, self._links = chain, links
        tokens: list[int] = []
        parents: list[int] = []
        chances: list[float] = []
        origins: list[str] = []
        if limit > 0:
            self._below(context, -1, 0, 1.0, link=0)
        while self._offers and len(tokens) < limit:
            negative, _, token, parent, depth, link, context, row = heappop(self._offers)
            tokens.append(token)
            parents.append(parent)
            chances.append(-negative)
            origins.append(self._name if row else "lookup")
            if row and self._trees:
                self._offer_next(row._replace(rank=row.rank + 1), context, parent, depth, most=-negative)
            self._below((*context[1 - CONTEXT :], token), len(tokens) - 1, depth + 1, -negative, link=link + 1)
        return make_tree(tokens, parents, chances, origins)

    def _offer(
        self, chance: float, token: int, parent: int, depth: int, link: int, context: tuple[int, ...], row: _Row | None
    ) -> None:
        if chance >= self._floor:
            heappush(self._offers, (-chance, next(self._order), token, parent, depth, link, context, row))

    def _offer_next(self, row: _Row, context: tuple[int, ...], parent: int, depth: int, most: float) -> None:
        """Add the next candidate of a row to the heap."""
        rank = row.rank
        if rank < len(row.tokens) and row.tokens[rank] == row.other:
            rank += 1
        if rank < len(row.tokens):
            chance = min(most, row.reach * row.chances[rank])
            row = row._replace(rank=rank)
            self._offer(chance, row.tokens[rank], parent, depth, link=len(self._chain), context=context, row=row)

    def _below(self, context: tuple[int, ...], parent: int, depth: int, reach: float, link: int) -> None:
        """Offer the children of a node: the chain's token, and candidates that share the remaining chance."""
        if reach < self._floor:
            return
        tokens, chances = self._rows(context, depth)
        other, left = -1, reach
        if link < len(self._chain) and (self._trees or not tokens or self._links[link] >= chances[0]):
            other, left = self._chain[link], reach * (1 - self._links[link])
            self._offer(reach * self._links[link], other, parent, depth, link=link, context=context, row=None)
            if not self._trees:
                return
        if tokens:
            self._offer_next(_Row(tokens, chances, 0, left, other=other), context, parent, depth, most=left)
