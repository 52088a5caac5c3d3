"""A union of drafters: merges their trees, weighting each by its track record (after CoSine, 2503.10325)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from intact.engine.draft.base import (
    CEILING,
    GREEDY,
    Draft,
    Drafter,
    DrawContext,
    Observed,
    ReadingDraft,
    RelativeAcceptance,
    Terms,
    Tree,
    make_tree,
)
from intact.engine.draft.controller import MOST_NODES
from intact.engine.hidden import KeptRows
from intact.executors.base import Executor


def merge(trees: Sequence[Tree | None], factors: Sequence[float]) -> Tree | None:
    """Return the union of trees: equal paths are merged, with the chance 1 - prod(1 - c) over the trees that have them.

    Parameters
    ----------
    factors : sequence of float
        Factor applied to the chances of each tree.
    """
    chances: dict[tuple[int, ...], float] = {}
    origins: dict[tuple[int, ...], tuple[float, str]] = {}
    for tree, factor in zip(trees, factors, strict=True):
        if tree is None:
            continue
        paths: list[tuple[int, ...]] = []
        nodes = zip(tree.tokens.tolist(), tree.parents.tolist(), tree.chances, tree.origins, strict=True)
        for token, parent, own, origin in nodes:
            path = (*paths[parent], token) if parent >= 0 else (token,)
            paths.append(path)
            chance = min(CEILING, factor * own)
            chances[path] = 1 - (1 - chances.get(path, 0.0)) * (1 - chance)
            origins[path] = max(origins.get(path, (0.0, origin)), (chance, origin))
    for path in sorted(chances, key=len):  # no node may be likelier than its parent
        if len(path) > 1:
            chances[path] = min(chances[path], chances[path[:-1]])
    order = sorted(chances, key=lambda path: (-chances[path], len(path)))
    places = {path: place for place, path in enumerate(order)}
    return make_tree(
        [path[-1] for path in order],
        [places[path[:-1]] if len(path) > 1 else -1 for path in order],
        [chances[path] for path in order],
        [origins[path][1] for path in order],
    )


def likeliest_chain(tree: Tree) -> Tree:
    """Return the path from the last token of the sequence that takes the likeliest child of each node."""
    path: list[int] = []
    for node, parent in enumerate(tree.parents.tolist()):  # siblings are ordered likeliest first
        if parent == (path[-1] if path else -1):
            path.append(node)
    if len(path) == len(tree.tokens):
        return tree
    nodes = [(int(tree.tokens[node]), tree.chances[node], tree.origins[node]) for node in path]
    tokens, chances, origins = zip(*nodes, strict=True)
    return Tree(
        np.array(tokens, np.int32), np.arange(-1, len(path) - 1, dtype=np.int32), tuple(chances), tuple(origins)
    )


def by_depth(trees: Sequence[Tree | None]) -> list[float]:
    """Return, for each depth, the chance that a node of one of the trees is accepted there."""
    found: list[float] = []
    for tree in trees:
        if tree is None:
            continue
        depths: list[int] = []
        sums: list[float] = []
        for parent, chance in zip(tree.parents.tolist(), tree.chances, strict=True):
            depth = depths[parent] + 1 if parent >= 0 else 0
            depths.append(depth)
            if depth == len(sums):
                sums.append(0.0)
            sums[depth] += chance
        found += [0.0] * (len(sums) - len(found))
        for depth, total in enumerate(sums):
            found[depth] = 1 - (1 - found[depth]) * (1 - min(CEILING, total))
    return found


class UnionDraft:
    """The drafts of all member drafters for one sequence."""

    __slots__ = ("_branching", "_reading", "_records", "drafts", "trees")

    def __init__(self, drafts: Sequence[Draft], reading: Sequence[int] = (), branching: bool = True) -> None:
        self.drafts, self._reading, self._branching = drafts, reading, branching
        self._records = [RelativeAcceptance() for _ in drafts]
        self.trees: list[Tree | None] = []

    def extend(self, tokens: Sequence[int]) -> None:
        """Record for each member whether its guesses included the next token, and extend the drafts."""
        for tree, record in zip(self.trees, self._records, strict=False):
            if tree is not None:
                first = np.flatnonzero(tree.parents < 0)
                expected = min(CEILING, sum(tree.chances[node] for node in first.tolist()))
                record.observe(expected, tree.child(-1, tokens[0]) is not None)
        self.trees = []
        for draft in self.drafts:
            draft.extend(tokens)

    def read(self, rows: KeptRows) -> None:
        """Pass rows to the drafts that read hidden states."""
        for member in self._reading:
            cast(ReadingDraft, self.drafts[member]).read(rows)

    def ask(self, member: int, limit: int, floor: float) -> None:
        """Let the next member propose."""
        self.trees.append(self.drafts[member].propose(MOST_NODES if limit > 0 else 0, floor))

    def propose(self, limit: int, floor: float = 0.0) -> Tree | None:
        """Return the likeliest nodes of all members."""
        for member in range(len(self.trees), len(self.drafts)):
            self.ask(member, limit, floor)
        tree = merge(self.trees, [record.factor for record in self._records])
        if tree is not None and not self._branching:
            tree = likeliest_chain(tree)
        if tree is None or limit <= 0:
            return None
        return tree.cut(min(limit, sum(chance >= floor for chance in tree.chances)))


class Union(Drafter):
    """Several drafters whose trees are merged; more expensive ones come later and know what the earlier ones cover."""

    name = "union"

    def __init__(self, members: Sequence[Drafter]) -> None:
        self.members = members
        self.trees = all(member.trees for member in members)
        self.candidates = max(member.candidates for member in members)
        self.context = max(member.context for member in members)
        self.hidden = max(member.hidden for member in members)

    def hidden_rows(self, executor: Executor, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return the rows of the first member that reads hidden states; all that do read the same rows."""
        return next(one for one in self.members if one.hidden).hidden_rows(executor, rows)

    def open(self, tokens: Sequence[int], draws: DrawContext = GREEDY) -> UnionDraft:
        """Return the drafts of all members, combined into one."""
        reading = [i for i, member in enumerate(self.members) if member.hidden]
        return UnionDraft([member.open(tokens, draws) for member in self.members], reading, self.trees)

    def prepare(
        self,
        drafts: Sequence[UnionDraft],
        limits: Sequence[int],
        terms: Terms,
        covered: Sequence[Sequence[float]] = (),
    ) -> None:
        """Let each member prepare and propose in turn; later ones only need to add what earlier ones do not cover."""
        for draft in drafts:
            draft.trees = []
        for i, member in enumerate(self.members):
            covering = [by_depth(draft.trees) for draft in drafts] if i else covered
            member.prepare([draft.drafts[i] for draft in drafts], limits, terms, covering)
            for draft, limit in zip(drafts, limits, strict=True):
                draft.ask(i, limit, terms.floor)

    def learn(self, observed: Observed) -> None:
        """Let every member learn."""
        for member in self.members:
            if member.candidates:
                member.learn(observed)

    def close(self) -> None:
        """Close every member."""
        for member in self.members:
            member.close()
