"""Selection of the child to descend to: UCT and PUCT."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from intact._base.exact import ln


class Child(NamedTuple):
    """The statistics that a tree search keeps of a child.

    Attributes
    ----------
    visits : int
        Number of times the search passed through it.
    value : float
        The sum of the backed-up rewards, one for each visit.
    prior : float
        The child's probability before any visit.
    closed : bool
        If true, it is not visited again; its visits still count in the total.
    """

    visits: int = 0
    value: float = 0.0
    prior: float = 1.0
    closed: bool = False

    @property
    def mean(self) -> float:
        """The mean reward; 0 before the first visit."""
        return self.value / self.visits if self.visits else 0.0

    def visit(self, reward: float) -> Child:
        """Return the child after one more visit."""
        return self._replace(visits=self.visits + 1, value=self.value + reward)


def uct(children: Sequence[Child], exploration: float = math.sqrt(2)) -> int:
    """Return the open child with the largest `Q + w sqrt(ln N / n)`, N being all visits (Kocsis & Szepesvári 2006).

    Unvisited children come first; ties go to the first.
    """
    log_all = ln(max(sum(child.visits for child in children), 1))
    bounds = [
        child.mean + exploration * math.sqrt(log_all / child.visits) if child.visits else math.inf for child in children
    ]
    return _first_largest(children, bounds)


def puct(children: Sequence[Child]) -> int:
    """Return the open child with the largest `Q + c P sqrt(N) / (1 + n)` (Silver et al. 2018, arXiv 1712.01815).

    `c = ln((N + 19652 + 1) / 19652) + 1.25`, and N is the number of visits to all children. Ties go to the first;
    before any visit, this is the first child with the largest prior.
    """
    total = sum(child.visits for child in children)
    exploration = ln((total + 19653) / 19652) + 1.25
    root = math.sqrt(max(total, 1))
    bounds = [child.mean + exploration * child.prior * root / (1 + child.visits) for child in children]
    return _first_largest(children, bounds)


def _first_largest(children: Sequence[Child], bounds: Sequence[float]) -> int:
    """Return the first open child with the largest bound."""
    return max([i for i, child in enumerate(children) if not child.closed], key=bounds.__getitem__)
