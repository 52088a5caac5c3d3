"""A* decoding: best-first search over steps, with a scorer as the heuristic."""

from __future__ import annotations

import heapq
from functools import partial
from itertools import count
from typing import Annotated, NamedTuple

from intact._base.errors import ParameterError, SpentError
from intact.reason import Problem, State, Steps, method
from intact.reason.aggregate.votes import take
from intact.reason.limits import ChanceScorer, Count, Delimiter, one_of
from intact.reason.parts.stepwise import advance, or_spent, until_spent

COSTS = ("increase", "none")


class Node(NamedTuple):
    """A sequence on the frontier, ordered by f = g + h; ties go to the longer path, then to the older node."""

    f: float
    depth: int
    number: int
    g: float
    h: float
    state: State


@method("Chatziveroglou 2025, arXiv 2505.13672", group="search step by step", temperature=0.8)
def a_star(
    problem: Problem,
    *,
    k: Count = 4,
    expansions: Count = 32,
    scorer: ChanceScorer = "likelihood",
    steps: Count = 40,
    delimiter: Delimiter = "\n\n",
    cost: Annotated[str, partial(one_of, COSTS)] = "increase",
) -> Steps:
    """Expand the sequence with the lowest cost, k next steps at a time, until the cheapest sequence is finished.

    A sequence s with reward r in [0, 1] has the heuristic h = 1 - r; f = g + h.

    Parameters
    ----------
    k : int
        Number of next steps sampled per expansion.
    expansions : int
        Maximum number of expansions.
    scorer : str
        Scorer with rewards in [0, 1].
    steps : int
        Maximum number of steps; a sequence that reaches it counts as finished.
    cost : str
        Cost that a step adds to g: increase adds max(0, h(s') - h(s)); none adds 0, which gives best-first search.
    """
    made = count()
    frontier = [Node(1.0, 0, next(made), 0.0, h=1.0, state=problem.start)]
    expanded = 0
    goal: Node | None = None
    with until_spent() as spent:
        while frontier and expanded < expansions:
            node = heapq.heappop(frontier)
            if node.state.ended or -node.depth >= steps:
                goal = node
                break
            expanded += 1
            states, rewards = yield from advance([node.state] * k, scorer, delimiter)
            for state, reward in zip(states, rewards, strict=True):
                if not 0 <= reward <= 1:
                    raise ParameterError(f"A* needs rewards in [0, 1], got {reward!r}")
                h = 1 - reward
                g = node.g + (max(0.0, h - node.h) if cost == "increase" else 0.0)
                heapq.heappush(frontier, Node(g + h, node.depth - 1, next(made), g, h=h, state=state))
    if goal is None:
        goal = min(frontier, key=lambda node: (not node.state.ended, node.f, node.depth, node.number), default=None)
    if goal is None:
        raise SpentError("no text was written")
    answer = take(problem, goal.state, expanded=expanded, reward=1 - goal.h, complete=goal.state.ended)
    return or_spent(answer, spent)
